"""A guest's consoles and channels, opened by clients as streams.

====================  ==========================================================
console, serial port  by alias, or the first: a pseudo-terminal, a UNIX socket on
or parallel port      which QEMU listens
channel               by the guest's name for it or by alias, or the first: such
                      a socket
====================  ==========================================================

How the bytes move, and who may hold a line, is in :mod:`remotevirt.drivers.qemu.lines`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from remotevirt.drivers.disk_threads import open_in_thread
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.lines import LineHolders, LineStream, open_socket, open_terminal
from remotevirt.errors import VirError
from remotevirt.procedures import StreamResult
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.chardev import Backend, Channel, Console, Parallel, Serial

__all__ = ["ConsoleCalls"]

CONSOLE_FLAGS: Final[int] = c.VIR_DOMAIN_CONSOLE_FORCE | c.VIR_DOMAIN_CONSOLE_SAFE
"""What openConsole knows. Nobody gets a line here that somebody else holds, so that each is ``SAFE``."""


Line: TypeAlias = Console | Serial | Parallel


class ConsoleCalls(QemuCalls):
    """The calls that open a line of a guest."""

    async def domain_open_console(
        self, dom: NonnullDomain, dev_name: str | None, flags: int
    ) -> StreamResult[None]:
        """Open a console, serial or parallel port.

        Args:
            dom: the domain.
            dev_name: alias of the device; None for the first console or, without one, serial port.
            flags: virDomainConsoleFlags; with FORCE whoever holds it is thrown out.

        Raises:
            InternalError: there is none, or it cannot be opened.
            OperationFailed: somebody holds it.
        """
        self.check_flags(flags, CONSOLE_FLAGS, "DomainOpenConsole")
        record = self.record(dom)
        guest = self.guest(record)
        device = _find_console(record.live.model, dev_name)
        if device is None:
            raise InternalError(f"cannot find character device {_shown(dev_name)}", domain=c.VIR_FROM_QEMU)
        alias, backend = device.info.alias or "", device.backend
        if backend.type == "pty" and backend.sources and backend.sources[0].path is not None:
            open_line = open_terminal
        elif _listens(backend):
            open_line = open_socket
        else:
            text = f"character device {dev_name or alias} is not using a PTY or UNIX socket"
            raise InternalError(text, domain=c.VIR_FROM_QEMU)
        force, path = bool(flags & c.VIR_DOMAIN_CONSOLE_FORCE), backend.sources[0].path or ""
        return await self._hold(
            guest, alias, lambda: open_line(path, self.world.settings), path, "console", force
        )

    async def domain_open_channel(
        self, dom: NonnullDomain, name: str | None, flags: int
    ) -> StreamResult[None]:
        """Open a channel.

        Args:
            dom: the domain.
            name: what the guest knows it by, or its alias; None for the first.
            flags: virDomainChannelFlags; with FORCE whoever holds it is thrown out.

        Raises:
            InternalError: there is none, or it cannot be opened.
            OperationFailed: somebody holds it.
        """
        self.check_flags(flags, c.VIR_DOMAIN_CHANNEL_FORCE, "DomainOpenChannel")
        record = self.record(dom)
        guest = self.guest(record)
        channel = _find_channel(record.live.model.devices.channels, name)
        if channel is None:
            raise InternalError(f"cannot find channel {_shown(name)}", domain=c.VIR_FROM_QEMU)
        alias = channel.info.alias or ""
        if not _listens(channel.backend):
            text = f"channel {name or alias} is not using a UNIX socket"
            raise InternalError(text, domain=c.VIR_FROM_QEMU)
        force, path = bool(flags & c.VIR_DOMAIN_CHANNEL_FORCE), channel.backend.sources[0].path or ""
        return await self._hold(
            guest, alias, lambda: open_socket(path, self.world.settings), path, "channel", force
        )

    async def _hold(
        self, guest: Guest, alias: str, open_line: Callable[[], int], path: str, what: str, force: bool
    ) -> StreamResult[None]:
        """Open a line and hold it; whoever does is thrown out with ``force``, and otherwise may keep it.

        Raises:
            OperationFailed: somebody holds it, or the guest has ended.
            VirError: it cannot be opened.
        """
        holders = _holders(guest)

        def check() -> None:
            if alias in holders and not force:
                named = "console session" if what == "console" else "channel stream"
                raise OperationFailed(f"Active {named} exists for this domain", domain=c.VIR_FROM_QEMU)

        check()
        descriptor = await open_in_thread(os.path.dirname(path), lambda stop: open_line())
        try:
            guest.check_wanted()
            check()
        except VirError:
            os.close(descriptor)
            raise
        stream = LineStream(self.world.reactor, descriptor)
        holders.put(alias, stream)
        return StreamResult(stream, None)


def _holders(guest: Guest) -> LineHolders:
    """Return who holds the lines of a guest."""
    if guest.console is None:
        guest.console = LineHolders()
    holders: LineHolders = guest.console
    return holders


def _shown(name: str | None) -> str:
    return "(null)" if name is None else name


def _listens(backend: Backend) -> bool:
    """Return whether QEMU listens for a client on a UNIX socket; one that connects is no place for others."""
    source = backend.sources[0] if backend.sources else None
    return backend.type == "unix" and source is not None and source.mode == "bind" and bool(source.path)


def _find_console(model: DomainModel, name: str | None) -> Line | None:
    """Return the device that a client means.

    A console that is the first serial port again has, beside that port's alias, one of its own.
    """
    devices = model.devices
    consoles: list[Line] = [*devices.consoles]
    serials: list[Line] = [*devices.serials]
    everything = [*consoles, *serials, *devices.parallels]
    if name is None:
        found = next(iter(consoles or serials), None)
    else:
        found = next((one for one in everything if one.info.alias == name), None)
        if found is None:
            found = next((one for at, one in enumerate(consoles) if name == f"console{at}"), None)
    if isinstance(found, Console) and serials:
        kind = found.target.type if found.target is not None else None
        if kind in (None, "serial"):
            return serials[0]
    return found


def _find_channel(channels: Iterable[Channel], name: str | None) -> Channel | None:
    for one in channels:
        target = one.target
        if name is None or name == one.info.alias or (target is not None and target.name == name):
            return one
    return None
