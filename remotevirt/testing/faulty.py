"""A driver's connection in which calls and events may go wrong: the real one, wrapped part by part.

For each kind of sub-driver there is one class here, made from the contract: it has a method for every
procedure that drivers answer, and each asks the world's rules first. What the driver calls on itself does not
pass here, so a rule counts what clients ask for and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from remotevirt.drivers.base import DriverConnection
from remotevirt.drivers.events import Event, EventHub
from remotevirt.procedures import Procedure
from remotevirt.stubs.drivers import (
    HypervisorDriver,
    InterfaceDriver,
    NetworkDriver,
    NodeDeviceDriver,
    NWFilterDriver,
    SecretDriver,
    StorageDriver,
)
from remotevirt.testing.engine import FaultEngine, Who
from remotevirt.testing.rules import OPEN, PROCEDURES

__all__ = ["faulty"]


class _Faulty:
    """What all wrapped sub-drivers have: the real one, and the rules."""

    def __init__(self, real: Any, engine: FaultEngine, who: Who) -> None:
        self.real = real
        self.engine = engine
        self.who = who


def _method(name: str, procedure: Procedure) -> Callable[..., Any]:
    def call(self: _Faulty, *args: Any) -> Any:
        method = getattr(self.real, name)
        if not len(self.engine):
            return method(*args)
        return self.engine.call(name, procedure, method, args, self.who)

    call.__name__ = name
    return call


def _class(kind: str, base: type[Any]) -> type[Any]:
    methods = {
        name: _method(name, procedure)
        for name, procedure in PROCEDURES.items()
        if procedure.driver == kind and name != OPEN and hasattr(base, name)
    }
    return type(f"Faulty{base.__name__}", (_Faulty, base), {"__doc__": base.__doc__, **methods})


KINDS: Final[dict[str, type[Any]]] = {
    "hypervisor": HypervisorDriver,
    "network": NetworkDriver,
    "storage": StorageDriver,
    "interface": InterfaceDriver,
    "nodedev": NodeDeviceDriver,
    "secret": SecretDriver,
    "nwfilter": NWFilterDriver,
}

CLASSES: Final = {kind: _class(kind, base) for kind, base in KINDS.items()}


class FaultyHub(EventHub):
    """A connection's view of its driver's events.

    Args:
        hub: the driver's.
        engine: the rules.
        who: the client.
    """

    __slots__ = ("_engine", "_hub", "_who")

    def __init__(self, hub: EventHub, engine: FaultEngine, who: Who) -> None:
        super().__init__()
        self._hub = hub
        self._engine = engine
        self._who = who

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener`` with the events that come through; return what ends that."""
        alive = True

        def deliver(event: Event) -> None:
            if alive:
                listener(event)

        def hear(event: Event) -> None:
            if len(self._engine):
                self._engine.deliver(event, deliver, self._who)
            else:
                listener(event)

        stop = self._hub.listen(hear)

        def end() -> None:
            nonlocal alive
            alive = False
            stop()

        return end

    def publish(self, event: Event) -> None:
        """Publish to everyone, by the driver's hub."""
        self._hub.publish(event)


def faulty(connection: DriverConnection, engine: FaultEngine, who: Who) -> DriverConnection:
    """Return a connection in which calls and events go wrong by the rules."""
    parts = {kind: CLASSES[kind](getattr(connection, kind), engine, who) for kind in KINDS}
    hub = connection.events
    return attrs.evolve(connection, events=hub and FaultyHub(hub, engine, who), **parts)
