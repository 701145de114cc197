"""A guest's screen: pictures of it, and connections to its display by a client's socket or one for it."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from remotevirt.drivers.disk_threads import open_in_thread, surely_in_thread
from remotevirt.drivers.faults import argument_error
from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.launching import forget_secrets
from remotevirt.drivers.storage.streams import Download
from remotevirt.errors import VirError
from remotevirt.procedures import FilesResult, StreamResult
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, OperationInvalid, VirSystemError
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.graphics import Vnc

__all__ = ["ScreenCalls"]

PICTURE_MAXIMUM: Final = 512 * 1024 * 1024
"""Bytes of a picture that is sent: a screen of 16384 by 8192 points, which no card of QEMU's reaches."""

PNG_SINCE: Final = (7, 1, 0)
"""QEMU's first version whose screendump makes PNG."""


class ScreenCalls(QemuCalls):
    """Calls about what a guest shows."""

    async def domain_screenshot(
        self, dom: NonnullDomain, screen: int, flags: int
    ) -> StreamResult[str | None]:
        """Take a picture of a guest's screen.

        Args:
            dom: the domain.
            screen: a head of the first video card.
            flags: none is known.

        Returns:
            The picture and its type: ``image/png``, from a QEMU before 7.1 ``image/x-portable-pixmap``.

        Raises:
            OperationInvalid: there is no such screen.
        """
        self.check_flags(flags, 0, "DomainScreenshot")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainScreenshot"):
            guest = self.guest(record)
            device = _choose_screen(record.live.model, screen)
            emulator = await self.world.emulators.get(record.live.model.devices.emulator or "")
            png = emulator.version >= PNG_SINCE
            path = guest.folder / f"screen-{secrets.token_hex(8)}"
            arguments = {"filename": str(path), **device, **({"format": "png"} if png else {})}
            try:
                await guest.execute("screendump", arguments)
                file = await open_in_thread(str(guest.folder), lambda stop: _open_picture(path))
            finally:
                await surely_in_thread(str(guest.folder), lambda stop: forget_secrets([str(path)]))
        return StreamResult(
            Download(file, 0, PICTURE_MAXIMUM, _nothing, where=str(guest.folder), sparse=False),
            "image/png" if png else "image/x-portable-pixmap",
        )

    async def domain_open_graphics(
        self, dom: NonnullDomain, idx: int, flags: int, files: Sequence[int]
    ) -> None:
        """Make a client's socket a connection to a display.

        Args:
            dom: the domain.
            idx: which display.
            flags: with VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH the display asks for no password.
            files: the socket.

        Raises:
            InternalError: there is no such display, or no socket.
            InvalidArg: it is no socket.
        """
        if not files:
            raise InternalError("No FD available at slot 0", domain=c.VIR_FROM_RPC)
        if not stat.S_ISSOCK(os.fstat(files[0]).st_mode):
            function = "virDomainOpenGraphics"
            raise argument_error(function, "fd", f"fd {files[0]} must be a socket")
        self.check_flags(flags, c.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH, "DomainOpenGraphics")
        await self._connect(dom, idx, flags, files[0], "remoteDispatchDomainOpenGraphics")

    async def domain_open_graphics_fd(self, dom: NonnullDomain, idx: int, flags: int) -> FilesResult[None]:
        """Return a socket that is a connection to a display; see :meth:`domain_open_graphics`."""
        self.check_flags(flags, c.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH, "DomainOpenGraphicsFD")
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs, ours:
            await self._connect(dom, idx, flags, theirs.fileno(), "remoteDispatchDomainOpenGraphicsFd")
            return FilesResult((ours.detach(),), None)

    async def _connect(self, dom: NonnullDomain, idx: int, flags: int, file: int, name: str) -> None:
        """Hand a socket to QEMU as a client of a display."""
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, name):
            guest = self.guest(record)
            await _add_client(guest, _choose_display(record.live.model, idx), flags, file)


async def _add_client(guest: Guest, protocol: str, flags: int, file: int) -> None:
    """Give QEMU a socket under a name, and then the name to the display."""
    skip = bool(flags & c.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)
    await guest.execute("getfd", {"fdname": "graphicsfd"}, files=(file,))
    try:
        await guest.execute("add_client", {"protocol": protocol, "fdname": "graphicsfd", "skipauth": skip})
    except VirError:
        with suppress(VirError):
            await guest.execute("closefd", {"fdname": "graphicsfd"})
        raise


def _choose_screen(model: DomainModel, screen: int) -> dict[str, object]:
    """Return what tells QEMU which screen is meant: nothing for the first.

    Raises:
        OperationInvalid: there is none.
    """
    cards = [video for video in model.devices.videos if video.model is None or video.model.type != "none"]
    if not cards:
        raise OperationInvalid("no screens to take screenshot from", domain=c.VIR_FROM_QEMU)
    if not screen:
        return {}
    heads = (cards[0].model.heads if cards[0].model is not None else None) or 1
    if screen >= heads:
        raise OperationInvalid("no such screen ID", domain=c.VIR_FROM_QEMU)
    return {"device": cards[0].info.alias, "head": screen}


def _choose_display(model: DomainModel, idx: int) -> str:
    """Return the protocol of a display, in QEMU's words.

    Raises:
        InternalError: there is no such display.
        ConfigUnsupported: nobody can connect to its kind.
    """
    displays = model.devices.graphics
    if idx >= len(displays):
        raise InternalError(f"No graphics backend with index {idx}", domain=c.VIR_FROM_QEMU)
    if not isinstance(displays[idx], Vnc):
        text = f"Can only open VNC graphics backends, not {displays[idx].type}"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
    return "vnc"


def _open_picture(path: Path) -> int:
    """Open what QEMU has made, in a folder where it could have made anything.

    Raises:
        VirSystemError: it is not there.
        OperationInvalid: it is no file.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        text = f"unable to open {path}: {error.strerror}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OperationInvalid("QEMU has made no picture", domain=c.VIR_FROM_QEMU)
    return file


def _nothing() -> None:
    """Do nothing when the picture is sent: it has no name any more."""
