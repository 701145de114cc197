"""Events on their way from a driver to whoever listens.

A driver publishes each event once, without knowing who has registered or in which of libvirt's forms it
will be sent. The hub hands it to its listeners (one for each client that has registered something) at
once and in order; what an event needs to be sent is encoded by the first listener and kept with it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from remotevirt.procedures import Message

__all__ = ["Event", "EventHub"]


class Event:
    """Something that happened to an object.

    Attributes:
        kind: ``"domain"``, ``"network"``, ``"storage_pool"``, ``"node_device"``, ``"secret"`` or
            ``"qemu_monitor"``.
        id: the event's number in its kind (VIR_DOMAIN_EVENT_ID_LIFECYCLE); 0 for ``"qemu_monitor"``.
        key: what identifies the object: its UUID, for a node device its name.
        msg: the event's struct. For an event with an old form that is the one of ``domain_event_x``
            (DomainEventLifecycleMsg); for a later one the only one there is, with 0 as its ``callbackID``
            (the server puts in the number of each callback).
        payload: the encoding of ``msg`` without a callback's number, kept by whoever makes it first.
    """

    __slots__ = ("id", "key", "kind", "msg", "payload")

    def __init__(self, kind: str, id: int, key: bytes | str, msg: Message) -> None:
        self.kind = kind
        self.id = id
        self.key = key
        self.msg = msg
        self.payload: bytes | None = None

    def __repr__(self) -> str:
        return f"<Event {self.kind} {self.id} {self.msg!r}>"


class EventHub:
    """Hands published events to listeners, in order."""

    __slots__ = ("_held", "_listeners")

    log = Logger()

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[Event], None]] = {}
        self._held: list[Event] | None = None

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener`` with every event from now on; return what ends that (idempotent)."""
        token = object()
        self._listeners[token] = listener
        return lambda: self._listeners.pop(token, None) and None

    def publish(self, event: Event) -> None:
        """Hand an event to everyone who listens now.

        What a listener raises (an event that does not encode, most likely) is logged; neither the publisher
        nor another listener pays for it.
        """
        if self._held is not None:
            self._held.append(event)
            return
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                self.log.failure("{event} could not be delivered", event=event)

    def hold(self) -> None:
        """Keep what is published from now on until :meth:`release`: it may yet turn out not to happen."""
        self._held = []

    def drop(self) -> None:
        """Forget what is held."""
        if self._held is not None:
            self._held = []

    def release(self) -> None:
        """Hand out what is held, in order, and hold no more."""
        held, self._held = self._held, None
        for event in held or ():
            self.publish(event)
