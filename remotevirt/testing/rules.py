"""Rules: which calls and events go wrong, and how.

A rule says *what* it is about (procedure or event, object, client), *when* it counts (after so many, so many
times, with some probability, in a window of the world's time) and *how* things go wrong. A rule is plain
data: it is read from a world's file, from the control API or from Python, and written out again.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Any, Final

import attrs

from remotevirt.errors import VirError
from remotevirt.procedures import Procedure
from remotevirt.stubs import constants as vir
from remotevirt.stubs import lxc, qemu, remote
from remotevirt.stubs.errors import ERRORS, error_class
from remotevirt.testing.values import (
    SECONDS_MAXIMUM,
    WorldError,
    choice,
    field,
    flag,
    maybe,
    number,
    seconds,
    text,
    whole,
)

__all__ = ["EVENTS", "FAULT_KEYS", "Fault", "find_procedures", "method_name"]

OPEN: Final = "connect_open"
"""The one procedure of the daemon's own that rules reach: the driver is asked to open a connection."""

ERROR_NUMBERS: Final[dict[str, int]] = {
    name.removeprefix("VIR_ERR_").lower(): value
    for name, value in vars(vir).items()
    if name.startswith("VIR_ERR_") and value in ERRORS
} | {"out_of_memory": vir.VIR_ERR_NO_MEMORY}
"""libvirt's error codes: ``operation_failed`` for VIR_ERR_OPERATION_FAILED."""


def _events() -> dict[tuple[str, int], str]:
    kinds = {
        "domain": "VIR_DOMAIN_EVENT_ID_",
        "network": "VIR_NETWORK_EVENT_ID_",
        "storage_pool": "VIR_STORAGE_POOL_EVENT_ID_",
        "node_device": "VIR_NODE_DEVICE_EVENT_ID_",
        "secret": "VIR_SECRET_EVENT_ID_",
    }
    return {
        (kind, number): f"{kind}.{name.removeprefix(prefix).lower()}"
        for kind, prefix in kinds.items()
        for name, number in vars(vir).items()
        if name.startswith(prefix) and not name.endswith("_LAST")
    }


EVENTS: Final = _events()
"""What events are called in rules: ``domain.lifecycle``, by kind and number."""


def method_name(program: Any, procedure: Procedure) -> str:
    """Return how a procedure is called in rules, which is its method's name in a driver."""
    return procedure.name if program is remote.PROGRAM else f"{program.name}_{procedure.name}"


def _procedures() -> dict[str, Procedure]:
    return {
        method_name(program, procedure): procedure
        for program in (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM)
        for procedure in program.procedures.values()
        if not procedure.event and (procedure.driver is not None or procedure.name == OPEN)
    }


PROCEDURES: Final = _procedures()


def find_procedures(pattern: str) -> frozenset[str]:
    """Return the procedures that a pattern means, by name (``domain_create*``) or API (``virDomainCreate*``).

    Raises:
        WorldError: there is none, or the daemon itself answers them.
    """
    found = frozenset(
        name
        for name, procedure in PROCEDURES.items()
        if fnmatch.fnmatchcase(name, pattern)
        or (procedure.api is not None and fnmatch.fnmatchcase(procedure.api, pattern))
    )
    if not found:
        raise WorldError(f"procedure: {pattern!r} means no procedure that a driver answers")
    return found


def _error_number(value: Any) -> int | None:
    """Convert the name or number of an error."""
    if value is None:
        return None
    if isinstance(value, str):
        number = ERROR_NUMBERS.get(value.removeprefix("VIR_ERR_").lower())
        if number is None:
            near = fnmatch.filter(ERROR_NUMBERS, f"*{value[:20].lower()}*")
            more = f"; perhaps {', '.join(sorted(near)[:5])}" if near else ""
            raise WorldError(f"error: libvirt has none called {value!r:.80}{more}")
        return number
    return whole("error", 1, 2**31 - 1)(value)


def _delay(value: Any) -> tuple[float, float]:
    """Convert a delay: seconds, or the least and the most."""
    pair = value if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2:
        raise WorldError(f"delay: seconds, or two of them, are wanted, not {value!r:.80}")
    low, high = (seconds("delay")(one) for one in pair)
    if low > high:
        raise WorldError(f"delay: the least comes first, not {value!r:.80}")
    return low, high


CALL_ACTIONS: Final = ("error", "hang", "drop", "garbage", "ignore", "cut")
EVENT_ACTIONS: Final = ("lose", "duplicate", "reorder")


@attrs.frozen(kw_only=True)
class Fault:
    """One rule.

    What it is about:

    Attributes:
        procedure: pattern (``*``, ``?``, ``[...]``) of procedures' names, or of libvirt's function names.
        event: pattern of events (``domain.lifecycle``); the rule is then about events and not about calls.
        object: pattern of the object's name, or its UUID.
        client: pattern of who the client is: its SASL name, certificate's name, ``uid:0``, or ``#2`` for the
            second client that this world has had.

    When it counts:

    Attributes:
        after: let so many pass before.
        count: go wrong so many times, then never again; None: always.
        probability: of each time, from 0 to 1, by random numbers of ``seed``.
        since, until: only in this window of the world's time, in seconds.

    How a call goes wrong; ``delay`` goes with each of the others, or alone:

    Attributes:
        delay: answer after so many seconds; ``[least, most]``: a random time between.
        error: answer this error of libvirt's (``operation_failed``), with ``message``.
        hang: never answer.
        drop: disconnect the client ``"before"`` acting, or ``"after"``.
        garbage: act, then answer a ``"payload"`` that does not decode, or a ``"frame"`` that is no message.
        ignore: answer that all went well, and do nothing.
        cut: end the stream that the call opens after so many bytes.

    How an event goes wrong:

    Attributes:
        lose: it never comes.
        duplicate: it comes twice.
        reorder: it comes after the next one.

    And what it is called, to be taken away again:

    Attributes:
        name: any text; made up where none is given.
    """

    name: str = field(text("name"), "")
    procedure: str = field(text("procedure"), "*")
    event: str | None = maybe(text("event"))
    object: str = field(text("object"), "*")
    client: str = field(text("client"), "*")
    after: int = field(whole("after"), 0)
    count: int | None = maybe(whole("count", 1))
    probability: float = field(number("probability", 0, 1), 1.0)
    seed: int = field(whole("seed"), 0)
    since: float = field(seconds("since"), 0.0)
    until: float = field(seconds("until"), float(SECONDS_MAXIMUM))
    delay: tuple[float, float] | None = maybe(_delay)
    error: int | None = field(_error_number, None)
    message: str | None = maybe(text("message"))
    hang: bool = field(flag("hang"), False)
    drop: str | None = maybe(choice("drop", "before", "after"))
    garbage: str | None = maybe(choice("garbage", "payload", "frame"))
    ignore: bool = field(flag("ignore"), False)
    cut: int | None = maybe(whole("cut"))
    lose: bool = field(flag("lose"), False)
    duplicate: bool = field(flag("duplicate"), False)
    reorder: bool = field(flag("reorder"), False)

    def __attrs_post_init__(self) -> None:
        """Check the rule as a whole; raises WorldError."""
        for_calls = [name for name in CALL_ACTIONS if getattr(self, name) not in (None, False)]
        for_events = [name for name in EVENT_ACTIONS if getattr(self, name)]
        wanted, other = (for_calls, for_events) if self.event is None else (for_events, for_calls)
        if other:
            about = "calls" if self.event is None else "events"
            raise WorldError(f"{other[0]}: a rule about {about} cannot have it")
        if len(wanted) > 1 or not (wanted or self.delay is not None):
            possible = CALL_ACTIONS if self.event is None else EVENT_ACTIONS
            raise WorldError(f"a rule needs delay, or one of {', '.join(possible)}; this one has {wanted}")
        if self.message is not None and self.error is None:
            raise WorldError("message: it goes with error")
        if self.event is None:
            chosen = find_procedures(self.procedure)
            if self.cut is not None and not any(PROCEDURES[name].opens_stream for name in chosen):
                raise WorldError(f"cut: {self.procedure!r} opens no stream")
            if self.ignore and not any(PROCEDURES[name].ret is None for name in chosen):
                raise WorldError(f"ignore: {self.procedure!r} has a result, which would be missing")
        elif not fnmatch.filter(EVENTS.values(), self.event):
            raise WorldError(f"event: {self.event!r} means none of {', '.join(sorted(EVENTS.values()))}")

    def vir_error(self) -> VirError:
        """Return the error that the rule answers with."""
        assert self.error is not None
        return error_class(self.error)(self.message, code=self.error, domain=vir.VIR_FROM_TEST)

    def table(self) -> dict[str, Any]:
        """Return the rule as the table that makes it again, without what is as by default."""
        given: dict[str, Any] = {}
        for key in attrs.fields(Fault):
            value = getattr(self, key.name)
            if value != key.default:
                given[key.name] = list(value) if isinstance(value, tuple) else value
        return given


FAULT_KEYS: Final = tuple(key.name for key in attrs.fields(Fault))
"""All keys of a rule."""


def matches_any(pattern: str, candidates: Iterable[str]) -> bool:
    """Tell whether one of some texts fits a pattern."""
    return pattern == "*" or any(fnmatch.fnmatchcase(text, pattern) for text in candidates)
