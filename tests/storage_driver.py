"""A hypervisor without guests whose storage is real: for tests with real clients."""

from __future__ import annotations

import os

from zope.interface import implementer

from remotevirt.drivers import ClientInfo, DriverConnection, DriverURI, IDriver
from remotevirt.drivers.events import EventHub
from remotevirt.drivers.storage import RealStorage
from remotevirt.stubs.drivers import HypervisorDriver


class Nothing(HypervisorDriver):
    """What a client asks of any hypervisor."""

    def connect_get_type(self) -> str:
        """Return the hypervisor's name."""
        return "Test"


@implementer(IDriver)
class StorageOnly:
    """Answers ``test:`` URIs.

    Args:
        state: the daemon's folder.
    """

    name = "storage"
    schemes = ("test",)
    default_uri = "test:///default"

    def __init__(self, state: str | None = None) -> None:
        self.hub = EventHub()
        folder = None if state is None else os.path.join(state, "storage")
        self.storage = RealStorage.open(folder, self.hub, lambda key: b"open sesame")

    def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open a connection."""
        return DriverConnection(uri.text, hypervisor=Nothing(), storage=self.storage, events=self.hub)

    def start(self) -> None:
        """Start the pools."""
        self.storage.start()

    def stop(self) -> None:
        """Let go of everything."""
        self.storage.close()
