"""Handing files to guests and taking them back; the disk is touched by threads, and may hang.

::

    give_files ──► looked at ──► commit: whose they were ──► the guests' user's
    the guest lets go of one, or ends ──► commit: owed to who had it ──► given back ──► commit: not owed

Who had a file is kept from before it changes hands until it has been given back, first with the guest's row
and then with one of its own. So nothing is lost when the daemon dies in between, or when the disk answers
only days later. Each file is in one hand at a time: what gives it waits for what gives it back.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import DISK_SECONDS, Lanes, in_thread, made_in_thread, surely_in_thread
from remotevirt.drivers.qemu.access import check_place, give, give_back, owner_before
from remotevirt.drivers.qemu.command import GuestFile, images_of
from remotevirt.drivers.qemu.guest import Guest, Owner
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainModel

__all__ = ["give_files", "pay_back", "release_files", "soon"]

log = Logger()

SOON: Final = 2.0
"""How long the end of a guest waits for its files to be given back, which a disk that answers does within a
millisecond."""

_hands: Final = Lanes(1)
"""Files that change hands, by their paths."""


@asynccontextmanager
async def _hand(path: str, seconds: float | None) -> AsyncIterator[None]:
    """Hold a file, of which nobody else changes the owner meanwhile; raises OperationTimeout."""
    await _hands.enter(path, seconds)
    try:
        yield
    finally:
        _hands.leave(path)


async def give_files(guest: Guest, files: Iterable[GuestFile]) -> None:
    """Let a guest's QEMU open files, and remember who had them.

    Raises:
        VirError: one is not there, may not be given, or its disk does not answer; those before it may be
            given, and are noted.
    """
    settings = guest.world.settings
    found = {file: await _look(file, settings) for file in files}
    if settings.user is None:
        return
    async with AsyncExitStack() as stack:
        for path in sorted(set(found.values())):  # in one order, so that nobody waits for who waits for him
            await stack.enter_async_context(_hand(path, DISK_SECONDS))
        before = {
            file: await in_thread(
                os.path.dirname(file.path),
                lambda stop, file=file: owner_before(file.path, settings, writable=file.writable),  # type: ignore[misc]
            )
            for file in found
        }
        guest.check_wanted()
        wanted = guest.world.commit(_note, guest, found, before)
        for owner in wanted:
            await made_in_thread(
                os.path.dirname(owner.path),
                lambda stop, owner=owner: give(owner, settings),  # type: ignore[misc]
                lambda _, owner=owner: give_back([owner], settings),  # type: ignore[misc]
            )


async def _look(file: GuestFile, settings: Settings) -> str:
    """Return where a file really is, if a guest may have it; raises VirError."""
    place = os.path.dirname(file.path)
    return await in_thread(place, lambda stop: check_place(file.path, settings, writable=file.writable))


def _note(guest: Guest, found: dict[GuestFile, str], before: dict[GuestFile, Owner | None]) -> list[Owner]:
    """Note whose files were that a guest gets; inside of a commit; returns those that are to be given."""
    world, details = guest.world, guest.details
    wanted: list[Owner] = []
    for file, path in found.items():
        owner = before[file]
        known = world.owner_of(path) or world.owed.get(path)
        if owner is not None and known is None and owner not in wanted:
            wanted.append(owner)
        owner = known or owner
        if owner is None:
            continue
        world.forgive(path)
        if owner not in details.owners:
            details.owners.append(owner)
        if file.path != path:
            details.links[file.path] = path
    guest.remember()
    return wanted


async def release_files(guest: Guest) -> None:
    """Give back the images that a guest was given, and that none of its devices is on any more."""
    world, details = guest.world, guest.details
    named = {path for path in _named(guest.record.live.model) if path}
    used = {details.links.get(path, path) for path in named}
    gone = [owner for owner in details.owners if owner.path not in used]
    if not gone:
        return

    def change() -> None:
        details.owners = [owner for owner in details.owners if owner.path in used]
        details.links = {path: real for path, real in details.links.items() if path in named}
        guest.remember()
        world.owe(gone)

    world.apply(change)
    await soon(world, pay_back(world, gone))


def _named(model: DomainModel) -> Iterable[str | None]:
    """Yield the files that a definition names."""
    devices, boot = model.devices, model.os
    for disk in devices.disks:
        with suppress(VirError):
            yield from (image.source.place() for image in images_of(disk))
    yield from (boot.kernel, boot.initrd, boot.dtb)
    for firmware in (boot.loader, boot.nvram):
        yield None if firmware is None else firmware.path
    lines: tuple[Any, ...] = (*devices.serials, *devices.parallels, *devices.channels, *devices.consoles)
    for line in lines:
        yield from (one.path for one in line.backend.sources)
    for card in devices.interfaces:
        yield None if card.info.rom is None else card.info.rom.file


async def soon(world: QemuWorld, work: Deferred[Any]) -> None:
    """Wait for work that goes on whether anybody waits or not, but not for a disk that does not answer."""
    waiter: Deferred[None] = Deferred()

    def done(_: Any) -> None:
        if not waiter.called:
            waiter.callback(None)

    work.addCallback(done)
    late = world.reactor.callLater(SOON, done, None)
    try:
        await waiter
    finally:
        if late.active():
            late.cancel()


def pay_back(world: QemuWorld, owners: Iterable[Owner]) -> Deferred[Any]:
    """Give back files that are owed, unless another guest has them; each when its disk lets.

    Returns:
        Fires when all are; never fails.
    """
    return DeferredList([Deferred.fromCoroutine(_pay_back(world, owner)) for owner in owners])


async def _pay_back(world: QemuWorld, owner: Owner) -> None:
    try:
        async with _hand(owner.path, None):
            if world.owed.get(owner.path) != owner:
                return  # a guest has taken it over meanwhile
            place, settings = os.path.dirname(owner.path), world.settings
            await surely_in_thread(place, lambda stop: give_back([owner], settings))
            if world.open:
                world.apply(lambda: world.forgive(owner.path))
    except Exception:
        log.failure("{path} was not given back", path=owner.path)
