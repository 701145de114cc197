"""What all clients of a daemon share: its drivers, its limits, the clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from remotevirt.drivers.registry import DriverRegistry
from remotevirt.procedures import Program
from remotevirt.server.limits import Limits
from remotevirt.server.linger import Linger
from remotevirt.stubs import lxc, qemu, remote

__all__ = ["LIBVIRT_VERSION", "PROGRAMS", "Daemon"]

LIBVIRT_VERSION = 9_000_000
"""The libvirt version whose behaviour we show, and so report (connect_get_lib_version)."""

PROGRAMS: tuple[Program, ...] = (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM)
"""The programs that a client of the daemon may call."""


class Daemon:
    """The shared part of a daemon.

    Args:
        drivers: the drivers that it serves, the default one first.
        limits: what clients may take.
        reactor: the clock for keepalive; None means Twisted's reactor.
        programs: what clients may call; libvirt's remote program is among them.
    """

    def __init__(
        self,
        drivers: Iterable[Any],
        limits: Limits | None = None,
        reactor: Any = None,
        programs: Iterable[Program] = PROGRAMS,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 (importing it installs it)
        self.registry = DriverRegistry(drivers)
        self.limits = limits or Limits()
        self.reactor = reactor
        self.linger = Linger(reactor)
        self.clients: set[Any] = set()
        self.programs = {(program.number, program.version): program for program in programs}
