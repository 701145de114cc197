"""A fake libvirt in this process: a daemon with the driver ``fake``, on a UNIX socket of its own.

For tests under trial, whose reactor runs. Real clients (virsh, libvirt-python on another thread) connect to
its socket; :meth:`Fake.connect` gives a client without a socket.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred, inlineCallbacks

from remotevirt.server import Daemon, Limits, ServerFactory, Tracer
from remotevirt.testing.control import listen
from remotevirt.testing.driver import FakeDriver
from remotevirt.testing.memory import MemoryClient
from remotevirt.testing.world import FakeWorld
from remotevirt.transport import identify, parse_listener

__all__ = ["Fake"]


class Fake:
    """A fake libvirt.

    Args:
        driver: the hypervisor; None: one that is made of ``options``.
        reactor: None: Twisted's.
        tracers: who else is told what happens.
        limits: what clients may take; None: the usual limits.
        options: for :class:`~remotevirt.testing.driver.FakeDriver`: ``world``, ``clock``, ``fault``...

    Attributes:
        folder: where its sockets are; None before :meth:`start`.
    """

    def __init__(
        self,
        driver: FakeDriver | None = None,
        *,
        reactor: Any = None,
        tracers: Sequence[Tracer] = (),
        limits: Limits | None = None,
        **options: Any,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 (importing it installs it)
        self.reactor = reactor
        self.driver = driver or FakeDriver(reactor=reactor, **options)
        self.daemon = Daemon([self.driver], limits, reactor, tracers=[*self.driver.tracers, *tracers])
        self.folder: Path | None = None
        self._memory = ServerFactory(self.daemon.server, transport="unix", name="memory")
        self._ports: list[Any] = []

    @property
    def socket(self) -> Path:
        """The path of the UNIX socket."""
        assert self.folder is not None, "it is not started"
        return self.folder / "libvirt-sock"

    def uri(self, world: str = "default") -> str:
        """Return the URI by which a libvirt client on this machine reaches a world."""
        return f"test+unix:///{world}?socket={quote(str(self.socket))}"

    def world(self, name: str = "default") -> FakeWorld:
        """Return a world, which is made if it is not there yet."""
        return self.driver.world(name)

    def connect(self, world: str | None = "default") -> MemoryClient:
        """Return a client without a socket that has opened a world; None: nothing yet."""
        return MemoryClient(self._memory, None if world is None else f"test:///{world}")

    @inlineCallbacks
    def start(self) -> Any:
        """Serve a UNIX socket in a temporary folder; return a Deferred that fires when it can be used."""
        self.folder = Path(tempfile.mkdtemp(prefix="fake-"))
        yield self.serve(f"unix:{self.socket}")

    @inlineCallbacks
    def serve(self, endpoint: str) -> Any:
        """Serve an endpoint string; return a Deferred of the port."""
        listener = parse_listener(self.reactor, endpoint)
        factory = ServerFactory(
            self.daemon.server, transport=listener.transport, name=endpoint, identify=identify
        )
        port = yield listener.endpoint.listen(factory)
        self._ports.append(port)
        return port

    @inlineCallbacks
    def serve_control(self, endpoint: str) -> Any:
        """Serve the control API on an endpoint string; return a Deferred of the port."""
        port = yield listen(self.driver, endpoint, self.reactor)
        self._ports.append(port)
        return port

    @inlineCallbacks
    def stop(self) -> Any:
        """Close everything; return a Deferred that fires when nobody is left."""
        ports, self._ports = self._ports, []
        for port in ports:
            yield port.stopListening()
        gone: Deferred[None] = self.daemon.drain(0)
        for client in self.daemon.clients:
            client.cut("the test is over")
        yield gone
        for name in tuple(self.driver.worlds):
            self.driver.forget_world(name)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
