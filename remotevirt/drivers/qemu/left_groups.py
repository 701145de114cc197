"""Control groups of guests that have ended, until the kernel lets them go: also for the next daemon.

A group cannot be removed as long as a process of the guest is not quite over. So it is noted, in a file of
its own in the daemon's folder, before the guest's row goes, and until the group is gone. What is noted was
made by this daemon or one before it on the same folder, and a group with processes in it stays: no other
daemon's groups are touched. The notes say nothing after a start of the host, which has no groups then.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from remotevirt.drivers.qemu.control_groups.group import ControlGroup
from remotevirt.drivers.qemu.figures import boot_id
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.world import QemuWorld

__all__ = ["note_group", "remove_group", "remove_left"]

log = Logger()

REMOVE_SECONDS: Final = 0.2
"""How long to wait before a group is removed that has processes yet; libvirt waits as long."""

REMOVE_TRIES: Final = 50
"""How often that is tried: the kernel may be freeing the memory of a large guest."""

MAX_NOTE: Final = 65536
"""Bytes of a note; a partition's name is part of a document, and no path of the kernel's is as long."""


def note_group(guest: Guest) -> Path | None:
    """Note that the groups of a guest are to be removed; the log says if that fails.

    Returns:
        The note, for :func:`remove_group`; None if there are no groups, or it cannot be written.
    """
    group = guest.group
    if group is None:
        return None
    note = guest.world.settings.left_groups / secrets.token_hex(8)
    try:
        note.parent.mkdir(mode=0o700, exist_ok=True)
        note.write_text(f"{boot_id()}\n{group.path}")
    except OSError as error:
        log.error("{path} cannot be written: {error}", path=note, error=error)
        return None
    return note


def remove_group(world: QemuWorld, group: ControlGroup, note: Path | None) -> None:
    """Remove the groups of a guest that is over, as soon as the kernel lets them go, then the note."""
    removing = Deferred.fromCoroutine(_remove(world, group, note))
    removing.addErrback(lambda failure: log.failure("a control group is left", failure=failure))


async def _remove(world: QemuWorld, group: ControlGroup, note: Path | None) -> None:
    for _ in range(REMOVE_TRIES):
        if await deferToThread(lambda: not group.is_in_use() and group.remove()):
            if note is not None:
                note.unlink(missing_ok=True)
            return
        await deferLater(world.reactor, REMOVE_SECONDS)
    log.error("control group {path} cannot be removed", path=group.path)


def remove_left(world: QemuWorld) -> None:
    """Remove the groups that daemons before this one have left; called before the first guest starts."""
    used = {guest.details.group for guest in world.guests()}
    for note, path in _notes(world.settings.left_groups):
        if path is None or path in used or world.groups is None:
            with suppress(OSError):
                note.unlink()
            continue
        group = world.groups.group(path)
        group.find()
        remove_group(world, group, note)


def _notes(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the notes, with the path of a group; None if it is of an earlier start of the host."""
    with suppress(FileNotFoundError):
        for note in sorted(folder.iterdir()):
            with note.open(encoding="utf-8", errors="replace") as file:
                boot, _, path = file.read(MAX_NOTE).partition("\n")
            yield note, path if boot == boot_id() and path.startswith("/") else None
