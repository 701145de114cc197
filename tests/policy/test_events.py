"""Which events reach whom."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import DriverConnection, Event
from remotevirt.policy import Watcher
from remotevirt.policy import events as events_module
from remotevirt.policy.events import SUBJECTS
from remotevirt.policy.permissions import PROGRAMS
from remotevirt.server.events import FORMS
from remotevirt.stubs import constants as vir
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.errors import NoDomain, OperationFailed
from tests.policy.calling import DOMAIN, METADATA, TENANT, GuardCase, allow, deny, rights
from tests.policy.fakes import ref

MINE = "{uri='" + TENANT + "', value='blue'}"


def event(kind: str, name: str) -> Event:
    """The first event of a kind, about the object of a name."""
    (id, form), *_ = [(number, form) for (of, number), form in sorted(FORMS.items()) if of == kind]
    procedure = form.program.procedures[form.legacy or form.callback]
    msg = procedure.args.unpack(bytes(4096), 0)[0]
    thing, field = SUBJECTS[kind]
    about = ref(thing, name)
    return Event(kind, id, getattr(about, "uuid", name), msg._replace(**{field: about}))


class WatcherTests(SynchronousTestCase):
    """Names and UUIDs."""

    def test_every_event_has_a_subject(self) -> None:
        """Every message of every event refers to its object where it is looked for."""
        for (kind, _), form in FORMS.items():
            thing, field = SUBJECTS[kind]
            message = form.program.procedures[form.legacy or form.callback].args
            self.assertIn(thing.replace("_", ""), message.__annotations__[field].__forward_arg__.lower())

    def test_contract(self) -> None:
        """Registering for events of a kind is filtered by ``getattr`` on it."""
        for program in PROGRAMS:
            for procedure in program.procedures.values():
                if "event" in procedure.name and procedure.aclfilter:
                    (filter,) = procedure.aclfilter
                    self.assertEqual("getattr", filter.permission)
                    self.assertIn(filter.object, {thing for thing, _ in SUBJECTS.values()})

    def test_every_kind(self) -> None:
        """All, those of a name, those but of a name, none."""
        connection = DriverConnection("x:///")
        for kind, (thing, _) in SUBJECTS.items():
            right = f"{thing}:getattr"
            for rules, one, two in (
                ([allow(right)], True, True),
                ([allow(right, name="one")], True, False),
                ([allow(right), deny(right, name="one")], False, True),
                ([], False, False),
                ([allow("*:read")], False, False),
            ):
                watcher = Watcher(rights(*rules), connection)
                self.assertEqual(one, watcher.may_see(event(kind, "one")), (kind, rules))
                self.assertEqual(two, watcher.may_see(event(kind, "two")), (kind, rules))

    def test_strange_events(self) -> None:
        """What nobody knows nobody sees."""
        watcher = Watcher(rights(allow("domain:getattr", name="*")), DriverConnection("x:///"))
        self.assertFalse(watcher.may_see(Event("other", 1, b"", event("domain", "one").msg)))
        self.assertFalse(watcher.may_see(Event("network", 1, b"", event("domain", "one").msg)))


class MetadataTests(GuardCase):
    """Where metadata decides."""

    def watch(self) -> tuple[list[tuple[str, int]], Watcher]:
        """See everything that somebody may see who may see what is marked ``blue``."""
        watcher = Watcher(rights(allow("domain:getattr", metadata=MINE)), self.connection)
        seen: list[tuple[str, int]] = []

        def listen(event: Event) -> None:
            if watcher.may_see(event):
                msg: Any = event.msg
                seen.append((msg.dom.name, msg.event))

        assert self.connection.events is not None
        self.connection.events.listen(listen)
        return seen, watcher

    def test_a_life(self) -> None:
        """From its definition to its end, when the driver does not know it any more."""
        seen, _ = self.watch()
        for tenant in ("blue", "red"):
            xml = DOMAIN.format(name=tenant, uuid="", metadata=METADATA.format(tenant))
            dom = self.hypervisor.domain_create_xml(xml, 0)
            self.hypervisor.domain_destroy(dom)
        started, stopped = vir.VIR_DOMAIN_EVENT_STARTED, vir.VIR_DOMAIN_EVENT_STOPPED
        self.assertEqual([("blue", started), ("blue", stopped)], seen)

    def test_memory_is_bounded(self) -> None:
        """What was seen last is kept for so many."""
        self.patch(events_module, "REMEMBERED_MAXIMUM", 2)
        seen, watcher = self.watch()
        for name in self.refs:
            self.hypervisor.domain_create(self.refs[name])
            self.assertLessEqual(len(watcher._last), 2)
        self.assertEqual(["web-1", "db-1"], [name for name, _ in seen])


class _Slow(HypervisorDriver):
    """Has metadata later, or never."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    def domain_get_metadata(self, dom: Any, type: int, uri: str | None, flags: int) -> Any:
        """Return what was put there."""
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


class SlowTests(SynchronousTestCase):
    """Drivers that do not know at once."""

    def test_slow_and_failing(self) -> None:
        """The event is not seen, and what comes later is nobody's."""
        hypervisor = _Slow()
        connection = DriverConnection("x:///", hypervisor=hypervisor)
        watcher = Watcher(rights(allow("domain:getattr", metadata=MINE)), connection)
        late: Deferred[str] = Deferred()
        later: Deferred[str] = Deferred()
        hypervisor.results = [
            late,
            later,
            OperationFailed("x"),
            f"<t xmlns='{TENANT}'>blue</t>",
            NoDomain(),
            f"<t xmlns='{TENANT}'>red</t>",
            NoDomain(),
        ]
        answers = [watcher.may_see(event("domain", "one")) for _ in range(7)]
        self.assertEqual([False, False, False, True, True, False, False], answers)
        late.callback(f"<t xmlns='{TENANT}'>blue</t>")
        later.errback(RuntimeError("x"))

    def test_unknown_is_not_remembered(self) -> None:
        """An answer that rests on what was not known is not kept."""
        hypervisor = _Slow()
        watcher = Watcher(
            rights(allow("domain:getattr"), deny("domain:getattr", metadata=MINE)),
            DriverConnection("x:///", hypervisor=hypervisor),
        )
        red = f"<t xmlns='{TENANT}'>red</t>"
        hypervisor.results = [OperationFailed("x"), NoDomain(), red, OperationFailed("x"), NoDomain()]
        answers = [watcher.may_see(event("domain", "one")) for _ in range(5)]
        self.assertEqual([False, False, True, True, True], answers)
