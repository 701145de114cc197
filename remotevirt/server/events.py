"""Event fan-out: who has registered for what, and the forms in which events are sent.

Domain events that are older than libvirt 1.3.3 have two forms. The *legacy* form
(``domain_event_lifecycle``) goes once to a client that has registered for the event's number. The
*callback* form (``domain_event_callback_lifecycle``) goes once for each callback that a client has
registered, and begins with that callback's number. Later events, and those of other objects, exist only
with a callback's number in front.

An event's own part is encoded once and kept with the event, however many clients get it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from remotevirt.drivers.events import Event
from remotevirt.rpc.message import pack_event
from remotevirt.server.faults import internal_error
from remotevirt.server.limits import CALLBACKS_MAXIMUM
from remotevirt.stubs import constants as vir
from remotevirt.stubs import qemu, remote
from remotevirt.xdr import UINT

__all__ = ["FORMS", "EventRelay", "Form"]


class Form(NamedTuple):
    """How an event is sent.

    Attributes:
        program: the program that its messages belong to.
        callback: procedure of the form with a callback's number.
        legacy: procedure of the form without one, None if there is none.
        reason: whether the callback form has a word (always 0) between the number and the event.
    """

    program: Any
    callback: int
    legacy: int | None = None
    reason: bool = False


def _forms() -> dict[tuple[str, int], Form]:
    by_name = remote.PROGRAM.by_name
    forms: dict[tuple[str, int], Form] = {}
    prefix = "VIR_DOMAIN_EVENT_ID_"
    for constant, number in vars(vir).items():
        name = constant.removeprefix(prefix).lower()
        if not constant.startswith(prefix) or name == "last":
            continue
        legacy = by_name.get(f"domain_event_{name}")
        callback = by_name.get(f"domain_event_callback_{name}")
        if callback is None:
            callback, legacy = legacy, None
        if callback is None:
            raise LookupError(f"no event message for {constant}")
        forms["domain", number] = Form(
            remote.PROGRAM, callback.number, legacy.number if legacy else None, name.startswith("pm")
        )
    for kind, number, name in (
        ("network", vir.VIR_NETWORK_EVENT_ID_LIFECYCLE, "network_event_lifecycle"),
        ("network", vir.VIR_NETWORK_EVENT_ID_METADATA_CHANGE, "network_event_callback_metadata_change"),
        ("storage_pool", vir.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, "storage_pool_event_lifecycle"),
        ("storage_pool", vir.VIR_STORAGE_POOL_EVENT_ID_REFRESH, "storage_pool_event_refresh"),
        ("node_device", vir.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, "node_device_event_lifecycle"),
        ("node_device", vir.VIR_NODE_DEVICE_EVENT_ID_UPDATE, "node_device_event_update"),
        ("secret", vir.VIR_SECRET_EVENT_ID_LIFECYCLE, "secret_event_lifecycle"),
        ("secret", vir.VIR_SECRET_EVENT_ID_VALUE_CHANGED, "secret_event_value_changed"),
    ):
        forms[kind, number] = Form(remote.PROGRAM, by_name[name].number)
    monitor = qemu.PROGRAM.by_name["domain_monitor_event"]
    forms["qemu_monitor", 0] = Form(qemu.PROGRAM, monitor.number)
    return forms


FORMS = _forms()
"""(kind, event number) -> form."""

_NO_REASON = UINT.pack(0)


class _Callback(NamedTuple):
    kind: str
    id: int
    key: bytes | str | None
    legacy: bool
    wanted: Callable[[Event], bool] | None = None


class EventRelay:
    """The registrations of one client, and the sending of what they ask for.

    Args:
        send: takes a whole message, and the event that it tells of.

    Attributes:
        may_see: tells whether the client may see an event; None: it may see all.
    """

    __slots__ = ("_callbacks", "_next", "_send", "may_see")

    def __init__(self, send: Callable[[bytes, Event], None]) -> None:
        self._send = send
        self.may_see: Callable[[Event], bool] | None = None
        self._callbacks: dict[int, _Callback] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._callbacks)

    def register(
        self,
        kind: str,
        id: int,
        key: bytes | str | None,
        legacy: bool = False,
        wanted: Callable[[Event], bool] | None = None,
    ) -> int:
        """Register a callback; return its number.

        Args:
            kind, id: which event.
            key: of which object; None: of all.
            legacy: in the form without a callback's number.
            wanted: tells whether it wants an event of these; None: all.

        Raises:
            VirError: there is no such event, it is registered already, or the client has too many.
        """
        form = FORMS.get((kind, id))
        if form is None or (legacy and form.legacy is None):
            raise internal_error(f"unsupported event ID {id}")
        if legacy and self._legacy(id) is not None:
            raise internal_error(f"domain event {id} already registered")
        if len(self._callbacks) >= CALLBACKS_MAXIMUM:
            raise internal_error(f"a client may not register more than {CALLBACKS_MAXIMUM} events")
        number = self._next
        self._next += 1
        self._callbacks[number] = _Callback(kind, id, key, legacy, wanted)
        return number

    def deregister(self, kind: str, number: int) -> None:
        """Forget a callback by its number.

        Raises:
            VirError: there is none with this number and kind.
        """
        callback = self._callbacks.get(number)
        if callback is None or callback.kind != kind or callback.legacy:
            name = kind.replace("_", " ")
            raise internal_error(f"{name} event callback {number} not registered")
        del self._callbacks[number]

    def deregister_legacy(self, id: int) -> None:
        """Forget the legacy registration of an event's number.

        Raises:
            VirError: there is none.
        """
        number = self._legacy(id)
        if number is None:
            raise internal_error(f"domain event {id} not registered")
        del self._callbacks[number]

    def _legacy(self, id: int) -> int | None:
        return next((n for n, c in self._callbacks.items() if c.legacy and c.id == id), None)

    def deliver(self, event: Event) -> None:
        """Send an event to each callback that asked for it."""
        kind, id, key = event.kind, event.id, event.key
        if self.may_see is not None and self._callbacks and not self.may_see(event):
            return
        # Sending may let the client's next calls in, which may register and deregister.
        for number, callback in tuple(self._callbacks.items()):
            if callback.kind != kind or (callback.id != id):
                continue
            if callback.key is not None and callback.key != key:
                continue
            if callback.wanted is not None and not callback.wanted(event):
                continue
            payload = event.payload
            form = FORMS[kind, id]
            if payload is None:
                payload = event.msg.pack()
                if form.legacy is None:
                    payload = payload[4:]  # its callbackID, which each callback replaces by its own
                event.payload = payload
            program = form.program
            if callback.legacy:
                assert form.legacy is not None
                procedure = form.legacy
            else:
                procedure = form.callback
                head = UINT.pack(number)
                payload = head + _NO_REASON + payload if form.reason else head + payload
            self._send(pack_event(program.number, program.version, procedure, payload), event)
