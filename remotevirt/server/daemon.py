"""What all clients of a daemon share: its drivers, its servers, who listens to what happens, the clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.auth import SaslService
from remotevirt.damper import Damper
from remotevirt.drivers.registry import DriverRegistry
from remotevirt.policy import PolicyStore
from remotevirt.procedures import Program
from remotevirt.server.limits import Limits
from remotevirt.server.linger import Linger
from remotevirt.server.protocol import ServerProtocol
from remotevirt.server.server import Server
from remotevirt.server.session import Session
from remotevirt.server.trace import Tracer
from remotevirt.server.unfinished import UnfinishedBudget
from remotevirt.stubs import lxc, qemu, remote

__all__ = ["PROGRAMS", "SERVER", "Daemon"]

PROGRAMS: tuple[Program, ...] = (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM)
"""The programs that a client of the daemon may call."""

SERVER = "libvirtd"
"""What the server of these programs is called; scripts that call virt-admin know this name."""


class Daemon:
    """The shared part of a daemon.

    Args:
        drivers: the drivers that it serves, the default one first.
        limits: what clients may take.
        reactor: the clock, for keepalive and deadlines; None means Twisted's reactor.
        programs: what clients may call; libvirt's remote program is among them.
        tracers: who is told what happens; see :mod:`~remotevirt.server.trace`.

    Attributes:
        server: the server of ``programs``; servers: all, by name.
        sasl: how clients of listeners with SASL authenticate, None: they cannot.
        damper: bounds the lines of the log that clients can cause.
        policy: what clients may do, None: whatever their listener lets them.
        draining: no new client is let in.
    """

    log = Logger()

    def __init__(
        self,
        drivers: Iterable[Any],
        limits: Limits | None = None,
        reactor: Any = None,
        programs: Iterable[Program] = PROGRAMS,
        tracers: Sequence[Tracer] = (),
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 (importing it installs it)
        self.registry = DriverRegistry(drivers)
        self.reactor = reactor
        self.linger = Linger(reactor)
        self.unfinished = UnfinishedBudget()
        self.damper = Damper(reactor.seconds)
        self.tracers = tuple(tracers)
        self.sasl: SaslService | None = None
        self.policy: PolicyStore | None = None
        self.draining = False
        self._drained: Deferred[None] | None = None
        self.server = Server(self, SERVER, limits or Limits(), programs, Session)
        self.servers = {SERVER: self.server}

    @property
    def clients(self) -> list[ServerProtocol]:
        """The clients of all servers."""
        return [client for server in self.servers.values() for client in server.clients.values()]

    def tell(self, what: str, *args: Any) -> None:
        """Tell all tracers; what one raises is logged and goes no further."""
        for tracer in self.tracers:
            try:
                getattr(tracer, what)(*args)
            except Exception:
                self.log.failure("{tracer} failed at {what}", tracer=type(tracer).__name__, what=what)

    def drain(self, timeout: float) -> Deferred[None]:
        """Let no new client in, let running calls end, then disconnect everybody.

        Args:
            timeout: seconds that running calls have; then their clients are cut off.

        Returns:
            A Deferred that fires when nobody is left.
        """
        if self._drained is None:
            self.draining = True
            self._drained = Deferred()
            for client in self.clients:
                client.drain()
            self.reactor.callLater(timeout, self._cut_all)
            self.client_gone()
        return self._drained

    def _cut_all(self) -> None:
        for client in self.clients:
            client.cut("the daemon ends")

    def client_gone(self) -> None:
        """Note that a client has gone; called by each when it has."""
        if self._drained is not None and not self._drained.called and not self.clients:
            self._drained.callback(None)
