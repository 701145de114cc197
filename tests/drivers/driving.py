"""Opening the test hypervisor in tests, and watching what it publishes."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI
from remotevirt.drivers.events import Event
from remotevirt.drivers.test import TestDriver
from remotevirt.drivers.test.hypervisor import TestHypervisor

READ_WRITE = ClientInfo()
READ_ONLY = ClientInfo(readonly=True)


def connect(
    driver: TestDriver | None = None, uri: str = "test:///default", client: ClientInfo = READ_WRITE
) -> DriverConnection:
    """Open a connection."""
    return (driver or TestDriver()).open(DriverURI.parse(uri), client)


def hypervisor() -> TestHypervisor:
    """Return the hypervisor of a new default world."""
    found = connect().hypervisor
    assert isinstance(found, TestHypervisor)
    return found


def domain_xml(name: str, extra: str = "", uuid: str | None = None) -> str:
    """Return the XML of a small domain."""
    middle = f"<uuid>{uuid}</uuid>" if uuid else ""
    return (
        f"<domain type='test'><name>{name}</name>{middle}<memory>65536</memory><vcpu>2</vcpu>"
        f"<os><type>hvm</type></os>{extra}</domain>"
    )


class Watcher:
    """Notes every event of a connection."""

    def __init__(self, connection: DriverConnection) -> None:
        self.events: list[Event] = []
        assert connection.events is not None
        self.stop = connection.events.listen(self.events.append)

    def take(self) -> list[tuple[Any, ...]]:
        """Return the events since the last call: name, id, and what the message says besides."""
        taken, self.events[:] = list(self.events), []
        return [self._plain(event) for event in taken]

    @staticmethod
    def _plain(event: Event) -> tuple[Any, ...]:
        fields = dict(zip(event.msg._fields, event.msg, strict=True))
        ref = fields.pop("dom")
        assert event.key == ref.uuid
        fields.pop("callbackID", None)
        return (event.kind, event.id, ref.name, ref.id, *fields.values())
