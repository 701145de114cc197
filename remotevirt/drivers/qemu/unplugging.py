"""A device goes: asked for, by the guest itself, or while nobody looked.

::

    unplug ──► noted ──► device_del ──► DEVICE_DELETED within 5 seconds ──► gone
                             │          DEVICE_UNPLUG_GUEST_ERROR ────────► an error, and it stays
                             └────────► neither: the call ends well, and it goes when the guest lets it
    DEVICE_DELETED, later, or a look after a restart of the daemon ───────► gone

``gone`` takes away what is behind the device, then the device from the live definition, and tells.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from remotevirt.drivers.domains.devices import DeviceEditor
from remotevirt.drivers.domains.events import device_removed
from remotevirt.drivers.qemu.command import Setting, parts_of_device
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.handing import release_files
from remotevirt.drivers.qemu.launching import surroundings_of
from remotevirt.drivers.qemu.making import remove_parts, take_leftover
from remotevirt.drivers.qemu.monitor import qmp_class
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed
from remotevirt.xml.domain.device import FAMILIES, Device, devices_of

__all__ = ["DELETED", "REFUSED", "UNPLUG_SECONDS", "first_of", "gone_by_itself", "gone_meanwhile", "unplug"]

log = Logger()

UNPLUG_SECONDS: Final = 5.0
"""How long a call waits for a guest to let go of a device, as in libvirt."""

DELETED: Final = "DEVICE_DELETED"
REFUSED: Final = "DEVICE_UNPLUG_GUEST_ERROR"


async def unplug(guest: Guest, alias: str, *, wait: bool = True) -> None:
    """Ask a guest to let go of a device; the caller holds its turn.

    Args:
        guest: whose device it is.
        alias: the device's.
        wait: for a while, until it has; if it takes longer the device goes later.

    Raises:
        OperationFailed: the guest has refused.
        VirError: QEMU has.
    """
    _note(guest, alias, unplugging=True)
    if not wait:
        try:
            await guest.execute("device_del", {"id": alias})
        except InternalError as error:
            await _not_deleted(guest, alias, error)
        return
    deleted, refused = guest.wait_for(DELETED, alias), guest.wait_for(REFUSED, alias)
    try:
        try:
            await guest.execute("device_del", {"id": alias})
        except InternalError as error:
            await _not_deleted(guest, alias, error)
            return
        what = await first_of(guest, deleted, refused)
    finally:
        for one in (deleted, refused):
            one.addErrback(lambda _: None)  # nobody waits any more
            one.cancel()
    guest.check_alive()
    if what == DELETED:
        await gone(guest, alias)
    elif what == REFUSED:
        raise OperationFailed("unplug of device was rejected by the guest", domain=c.VIR_FROM_QEMU)


async def _not_deleted(guest: Guest, alias: str, error: InternalError) -> None:
    """Take in that QEMU does not have a device any more; raise any other error."""
    if qmp_class(error) != "DeviceNotFound":
        _note(guest, alias, unplugging=False)
        raise error
    await gone(guest, alias)


async def first_of(guest: Guest, deleted: Deferred[None], refused: Deferred[None]) -> str | None:
    """Return what happens first; None for nothing in time, or if the guest ends."""
    answer: Deferred[str | None] = Deferred()

    def tell(what: str | None) -> None:
        if not answer.called:
            answer.callback(what)

    late = guest.world.reactor.callLater(UNPLUG_SECONDS, tell, None)
    deleted.addCallbacks(lambda _: tell(DELETED), lambda _: tell(None))
    refused.addCallbacks(lambda _: tell(REFUSED), lambda _: tell(None))
    try:
        return await answer
    finally:
        if late.active():
            late.cancel()


async def gone(guest: Guest, alias: str, *, meanwhile: bool = False) -> None:
    """Take away what is left of a device that the guest has no more; nothing if that was done.

    Args:
        guest: whose device it was.
        alias: of the device.
        meanwhile: it went while no daemon was there, or one that did not come to the end of this.
    """
    world, record = guest.world, guest.record
    device = _find(guest, alias)
    if device is None:
        await take_leftover(guest, alias)
        return
    setting = await _setting(guest)
    await remove_parts(guest, parts_of_device(setting, device), maybe=meanwhile)
    if record.guest is not guest or _find(guest, alias) is None:
        return

    def change() -> None:
        guest.details.unplugging = [one for one in guest.details.unplugging if one != alias]
        guest.remember()
        world.change_devices(record, live=lambda editor: editor.remove(editor.find_alias(alias)), config=None)
        world.hub.publish(device_removed(record.ref, alias))

    world.apply(change)
    await release_files(guest)


async def gone_by_itself(guest: Guest, alias: str) -> None:
    """Take in that a device has gone for which no call waits."""
    if not alias.startswith("/"):
        await gone(guest, alias)


async def _setting(guest: Guest) -> Setting:
    """Return what the parts of a guest's devices are made from."""
    model = guest.record.live.model
    emulator = await guest.world.emulators.get(model.devices.emulator or "")
    return Setting(model, emulator, surroundings_of(guest))


async def gone_meanwhile(guest: Guest) -> None:
    """Find out which devices have gone while the daemon was away. Raises VirError."""
    answer = await guest.execute("qom-list", {"path": "/machine/peripheral"})
    names = [one.get("name") for one in objects_of(answer)]
    there = {name for name in names if isinstance(name, str)}
    if "type" not in there:
        return  # every object has one, so this is no list of any
    for alias in await _removable(guest):
        if alias not in there:
            await gone(guest, alias, meanwhile=True)
    for alias in list(guest.details.leftover):
        if alias not in there:
            await take_leftover(guest, alias)


async def _removable(guest: Guest) -> list[str]:
    """Return the devices that are to be found among those that QEMU was told to make, by their aliases."""
    setting = await _setting(guest)
    found: list[str] = []
    devices = guest.record.live.model.devices
    for device in chain.from_iterable(devices_of(devices, tag) for tag in FAMILIES):
        alias = device.info.alias if hasattr(device, "info") else None
        if alias is None:
            continue
        with suppress(VirError):  # there are some that cannot come or go
            parts = parts_of_device(setting, device)
            if any(part.kind == "device" and part.arguments.get("id") == alias for part in parts):
                found.append(alias)
    return found


def _find(guest: Guest, alias: str) -> Device | None:
    """Return a device of the live definition, None if it is not there."""
    try:
        return DeviceEditor(guest.record.live.model).find_alias(alias)
    except VirError:
        return None


def _note(guest: Guest, alias: str, *, unplugging: bool) -> None:
    """Remember whether a guest was asked to let go of a device."""
    if (alias in guest.details.unplugging) == unplugging:
        return

    def change() -> None:
        others = [one for one in guest.details.unplugging if one != alias]
        guest.details.unplugging = [*others, alias] if unplugging else others
        guest.remember()

    guest.world.commit(change)
