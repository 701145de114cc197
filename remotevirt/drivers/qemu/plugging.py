"""A device comes: into QEMU, then into the definitions, as a whole.

::

    plug ──► both definitions checked ──► images found ──► made in QEMU, link by link
                                                              │ fails: taken back
                                                              └──► one commit: definitions, event
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remotevirt.drivers.domains.devices import CHARACTER, DeviceEditor
from remotevirt.drivers.domains.events import device_added
from remotevirt.drivers.qemu.chains import find_disk, find_volume
from remotevirt.drivers.qemu.characters import CHANGED, find_characters, place_terminals, take_in_states
from remotevirt.drivers.qemu.command import (
    Setting,
    images_of,
    link_of,
    number_disk,
    parts_of_device,
    throttle_of,
)
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.launching import surroundings_of
from remotevirt.drivers.qemu.live_devices import LiveEditor
from remotevirt.drivers.qemu.making import Making, made
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.drivers.qemu.taps import place_taps
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.address import DimmAddress
from remotevirt.xml.domain.device import Device, put
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.interface import Interface

__all__ = ["Change", "find_images", "plug", "setting_of"]

Change = Callable[[DeviceEditor], Any]
"""Changes devices of a definition."""


async def setting_of(guest: Guest) -> Setting:
    """Return what command lines and parts of a running guest are made from."""
    model = guest.record.live.model
    emulator = await guest.world.emulators.get(model.devices.emulator or "")
    return Setting(guest.record.live.model, emulator, surroundings_of(guest))


async def plug(guest: Guest, device: Device, config: Change | None) -> None:
    """Plug a device into a running guest; the caller holds its turn.

    Args:
        guest: the guest.
        device: as its document says.
        config: what to do to the persistent definition at the same time; None for nothing.

    Raises:
        VirError: it cannot have it, and nothing has changed.
    """
    world, record = guest.world, guest.record
    setting = await setting_of(guest)
    if isinstance(device, Disk):
        find_volume(world, device)

    def change(editor: DeviceEditor) -> list[Device]:
        return LiveEditor(editor.model).plug(device, setting)

    fitted, wanted = record.live.with_devices(change)
    if isinstance(device, Disk):
        await find_images(guest, device)
    setting = Setting(fitted.model, setting.emulator, setting.surroundings)
    making = Making(guest)
    try:
        for one in wanted:
            await making.add(parts_of_device(setting, one))
        for order in _after(device):
            await making.order(order)
        characters = await find_characters(guest) if device.TAG in CHARACTER else {}
        bases = await _memory_bases(guest) if device.TAG == "memory" else {}
        guest.check_alive()

        def take_in(editor: DeviceEditor) -> None:
            for one in wanted[:-1]:
                put(editor.model.devices, one.copy())
            editor.attach(device.copy())
            place_terminals(editor.model, characters)
            place_taps(editor.model, making.taps)
            _place_memory(editor.model, bases)

        def commit() -> None:
            world.change_devices(record, live=take_in, config=config)
            if device.info.alias is not None:
                world.hub.publish(device_added(record.ref, device.info.alias))
                name = f"char{device.info.alias}"
                if name in characters and characters[name].open:  # the guest was faster than QEMU's answer
                    take_in_states(guest, {name: characters[name]}, CHANGED)
            made(guest)

        world.commit(commit)
    except BaseException:
        await making.take_back()
        raise
    await making.done()


async def find_images(guest: Guest, disk: Disk) -> None:
    """Find the images below a disk that a running guest is about to get, and number them.

    Raises:
        VirError: one cannot be read, or says too little.
    """
    await find_disk(guest.world, disk)
    guest.check_alive()
    numbers = [guest.details.images]
    for one in guest.record.live.model.devices.disks:
        if not one.source_is_empty():
            numbers += [image.index or 0 for image in images_of(one)]
    after = number_disk(disk, max(numbers) + 1)

    def change() -> None:
        guest.details.images = after - 1
        guest.remember()

    guest.world.commit(change)


def _after(device: Device) -> list[Any]:
    """Return what is said of a device once it is there."""
    order = None
    if isinstance(device, Disk):
        order = throttle_of(device)
    elif isinstance(device, Interface):
        order = link_of(device)
    return [] if order is None else [order]


async def _memory_bases(guest: Guest) -> dict[str, int]:
    """Return where in the guest its memory modules are, by their aliases."""
    answer = await guest.execute("query-memory-devices")
    found: dict[str, int] = {}
    for one in objects_of(answer):
        data = one.get("data")
        if isinstance(data, dict) and isinstance(data.get("addr"), int) and 0 <= data["addr"] < 2**63:
            found[str(data.get("id"))] = data["addr"]
    return found


def _place_memory(model: DomainModel, bases: dict[str, int]) -> None:
    """Say in a live definition where memory modules are."""
    for module in model.devices.memories:
        address = module.info.address
        if isinstance(address, DimmAddress) and module.info.alias in bases:
            address.base = bases[module.info.alias]
