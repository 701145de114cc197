"""The test hypervisor against a real libvirtd's answers: every state, every operation."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.errors import VirError
from remotevirt.stubs.remote import NonnullDomain
from tests.drivers.driving import Watcher, connect
from tests.drivers.state_table import NAME, OPERATIONS, REF, STATES, UUID, label, plain, recorded

DOMAIN = NonnullDomain(NAME, UUID, -1)


class Machine:
    """The domain under test, in a world of its own."""

    def __init__(self) -> None:
        connection = connect()
        self.hypervisor = connection.hypervisor
        self.watcher = Watcher(connection)

    def call(self, operation: tuple[Any, ...]) -> Any:
        """Make a call; REF stands for the domain."""
        name, *arguments = operation
        return getattr(self.hypervisor, name)(*[DOMAIN if value is REF else value for value in arguments])

    def outcome(self, operation: tuple[Any, ...]) -> list[Any]:
        """Make a call and return what the recording holds of one."""
        self.watcher.take()
        error: list[Any] | None = None
        value: Any = None
        try:
            value = self.call(operation)
        except VirError as refused:
            texts = (refused.message, refused.str1, refused.str2)
            error = [refused.code, refused.domain, *texts, refused.int1]
        events = [[event, detail, id > 0, name] for _, _, name, id, event, detail in self.lifecycle()]
        if isinstance(value, NonnullDomain):
            value = None
        return [error, self.afterwards(), events, plain(value)]

    def lifecycle(self) -> list[tuple[Any, ...]]:
        """Return the lifecycle events since the call."""
        return [event for event in self.watcher.take() if event[:2] == ("domain", 0)]

    def afterwards(self) -> list[int] | None:
        """Return the domain's state and properties, None if it is gone."""
        try:
            state, reason = self.call(("domain_get_state", REF, 0))
        except VirError:
            return None
        return [
            state,
            reason,
            self.call(("domain_is_active", REF)),
            self.call(("domain_is_persistent", REF)),
            self.call(("domain_has_managed_save_image", REF, 0)),
        ]


class StateTableTests(TestCase):
    """One test for each state."""

    def check(self, state: str) -> None:
        """Compare every operation in one state with the recording."""
        expected = recorded()[state]
        self.assertEqual(set(expected), {label(operation) for operation in OPERATIONS})
        wrong: list[str] = []
        for operation in OPERATIONS:
            machine = Machine()
            for step in STATES[state]:
                machine.call(step)
            outcome = machine.outcome(operation)
            if outcome != expected[label(operation)]:
                wrong.append(f"{label(operation)}:\n  {outcome}\n  {expected[label(operation)]}")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_recording_is_complete(self) -> None:
        """The recording has a row for each state, and no other."""
        self.assertEqual(set(recorded()), set(STATES))


def _add(state: str) -> None:
    def test(self: StateTableTests) -> None:
        self.check(state)

    test.__doc__ = f"A domain in the state {state!r} answers as a real one does."
    setattr(StateTableTests, f"test_{state.replace('-', '_')}", test)


for _state in STATES:
    _add(_state)
