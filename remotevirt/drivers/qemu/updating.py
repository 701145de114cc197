"""Changing a device of a running guest in place: media, cables, passwords; the rest cannot be changed."""

from __future__ import annotations

from typing import Any, Final

from remotevirt.drivers.domains.devices import DeviceEditor
from remotevirt.drivers.qemu.command import Order
from remotevirt.drivers.qemu.complete.board import find_board
from remotevirt.drivers.qemu.complete.device_refusals import check_device
from remotevirt.drivers.qemu.displays import password_orders
from remotevirt.drivers.qemu.guest import Guest, Undo
from remotevirt.drivers.qemu.live_devices import LiveEditor
from remotevirt.drivers.qemu.making import forget_making, made, note_making, undo_all
from remotevirt.drivers.qemu.media import change_medium
from remotevirt.drivers.qemu.plugging import Change, setting_of
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, DeviceMissing, InternalError, OperationUnsupported
from remotevirt.xml.domain.device import Device
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.graphics import Graphics, Vnc
from remotevirt.xml.domain.interface import Interface

__all__ = ["update"]

REMOVABLE: Final = frozenset({"cdrom", "floppy"})

FIXED: Final = (
    ("geometry cylinders", "geometry.cyls"),
    ("geometry heads", "geometry.heads"),
    ("geometry sectors", "geometry.secs"),
    ("geometry translation", "geometry.trans"),
    ("blockio logical_block_size", "blockio.logical"),
    ("blockio physical_block_size", "blockio.physical"),
    *(
        (f"blkdeviotune {name}", f"iotune.{name}")
        for limit in ("bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max")
        for name in (f"total_{limit}", f"read_{limit}", f"write_{limit}")
    ),
    ("blkdeviotune size_iops_sec", "iotune.size_iops_sec"),
    ("blkdeviotune group name", "iotune.group_name"),
    ("serial", "serial"),
    ("wwn", "wwn"),
    ("vendor", "vendor"),
    ("product", "product"),
    ("cache", "driver.cache"),
    ("error_policy", "driver.error_policy"),
    ("rerror_policy", "driver.rerror_policy"),
    ("io", "driver.io"),
    ("ioeventfd", "driver.ioeventfd"),
    ("event_idx", "driver.event_idx"),
    ("copy_on_read", "driver.copy_on_read"),
    ("discard", "driver.discard"),
    ("iothread", "driver.iothread"),
    ("detect_zeroes", "driver.detect_zeroes"),
    ("address", "info.address"),
)
"""What of a disk stays as it is: libvirt's names, and ours. A document that does not say it agrees."""


async def update(guest: Guest, device: Device, config: Change | None, *, force: bool) -> None:
    """Change a device of a running guest; the caller holds its turn.

    Args:
        guest: whose device it is.
        device: how it shall be.
        config: what to do to the persistent definition at the same time.
        force: take a medium that the guest holds on to.

    Raises:
        VirError: it is not there, or cannot be changed so; nothing has changed.
    """
    if isinstance(device, Disk):
        old = _find_disk(guest, device)
        _check_disk(old, device)
        if _place(old) != _place(device):
            if old.device not in REMOVABLE:
                text = "disk source can be changed only in removable drives"
                raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
            await change_medium(guest, device, config, force=force)
            return
        _commit(guest, lambda editor: None, config)
    elif isinstance(device, Interface):
        await _update_interface(guest, device, config)
    elif isinstance(device, Vnc):
        await _update_screen(guest, device, config)
    elif isinstance(device, Graphics):
        raise _no_screen(device)
    else:
        text = f"live update of device '{device.TAG}' is not supported"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


def _commit(guest: Guest, live: Change, config: Change | None) -> None:
    """Change the definitions after QEMU has done its part."""

    def change() -> None:
        guest.world.change_devices(guest.record, live=live, config=config)
        made(guest)

    guest.check_alive()
    guest.world.commit(change)


def _find_disk(guest: Guest, wanted: Disk) -> Disk:
    for disk in guest.record.live.model.devices.disks:
        if disk.dev == wanted.dev and wanted.bus in {None, disk.bus}:
            return disk
    raise InternalError(f"disk '{wanted.dev}' not found", domain=c.VIR_FROM_QEMU)


def _place(disk: Disk) -> tuple[str, str | None] | None:
    return None if disk.source_is_empty() or disk.source is None else (disk.type, disk.source.place())


def _check_disk(old: Disk, new: Disk) -> None:
    """Refuse to change of a disk what cannot be changed; raises OperationUnsupported."""
    for name, path in FIXED:
        wanted = _get(new, path)
        if wanted and wanted != _get(old, path):
            raise _fixed(name)
    for name in ("device", "readonly", "shareable"):
        if getattr(old, name) != getattr(new, name):
            raise _fixed("shared" if name == "shareable" else name)


def _fixed(name: str) -> OperationUnsupported:
    return OperationUnsupported(f"cannot modify field '{name}' of the disk", domain=c.VIR_FROM_QEMU)


def _get(thing: Any, path: str) -> Any:
    for name in path.split("."):
        thing = getattr(thing, name, None)
    return thing


async def _update_interface(guest: Guest, new: Interface, config: Change | None) -> None:
    """Put the cable of a network card in, or pull it."""
    old = LiveEditor(guest.record.live.model).find(new)
    _check_interface(old, new)
    alias, up = old.info.alias, new.link != "down"
    if (old.link != "down") == up:
        _commit(guest, lambda editor: None, config)
        return
    undo: Undo = ("set_link", {"name": alias, "up": not up})
    note_making(guest, [undo])

    def take_in(editor: DeviceEditor) -> None:
        editor.find_alias(alias).link = new.link

    try:
        await guest.execute("set_link", {"name": alias, "up": up})
        _commit(guest, take_in, config)
    except BaseException:
        await undo_all(guest, [undo], maybe=True)
        forget_making(guest)
        raise


KEPT: Final = (
    ("vlan", "cannot modify network device vlan"),
    ("driver", "cannot modify virtio network device driver attributes"),
    ("script", "cannot modify network device script attribute"),
    ("tune", "cannot modify network device tune settings"),
    ("mtu", "cannot modify MTU"),
    ("coalesce", "cannot modify network device coalesce settings"),
    ("filterref", "cannot modify network device filter"),
    ("ips", "cannot modify network device guest IP addresses"),
)
"""What of a network card stays as it is, and libvirt's words if it shall not. What is not said agrees."""


def _check_interface(old: Interface, new: Interface) -> None:
    """Refuse to change of a network card more than its link; raises OperationUnsupported."""

    def refuse(text: str) -> OperationUnsupported:
        return OperationUnsupported(text, domain=c.VIR_FROM_QEMU)

    if new.type != old.type:
        raise refuse(f"cannot change network interface type to '{new.type}'")
    if new.model is not None and new.model != old.model:
        raise refuse(f"cannot modify network device model from {old.model} to {new.model}")
    for name, text in KEPT:
        wanted = getattr(new, name)
        if wanted and wanted != getattr(old, name):
            raise refuse(text)
    target = new.target.dev if new.target is not None else None
    if target and (old.target is None or target != old.target.dev):
        raise refuse("cannot modify network device tap name")
    if new.info.boot is not None and new.info.boot != old.info.boot:
        raise refuse("cannot modify network device boot index setting")
    if new.info.rom is not None and new.info.rom != old.info.rom:
        raise refuse("cannot modify network device rom bar setting")
    if new.place != old.place:
        raise refuse(f"unable to change config on '{old.type}' network type")
    if new.bandwidth is not None and new.bandwidth != old.bandwidth:
        text = f"setting bandwidth on interfaces of type '{old.type}' is not implemented yet"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


def _addresses(screen: Vnc) -> list[str]:
    return [one.address for one in screen.listens if one.address]


def _no_screen(wanted: Graphics) -> DeviceMissing:
    text = f"cannot find existing graphics device to modify of type '{wanted.type}'"
    return DeviceMissing(text, domain=c.VIR_FROM_QEMU)


async def _update_screen(guest: Guest, new: Vnc, config: Change | None) -> None:
    """Give a VNC display another password, or the same one for longer."""
    old = next((one for one in guest.record.live.model.devices.graphics if isinstance(one, Vnc)), None)
    if old is None:
        raise _no_screen(new)
    model, setting = guest.record.live.model, await setting_of(guest)
    check_device(new, model, setting.emulator, find_board(model))
    addresses = _addresses(new)
    for what, changed in (
        ("listen address setting on 'vnc'", addresses not in ([], _addresses(old))),
        ("port settings on vnc", not new.autoport and new.port != old.port),
        ("keymap setting on vnc", new.keymap != old.keymap),
    ):
        if changed:
            raise OperationUnsupported(f"cannot change {what} graphics", domain=c.VIR_FROM_QEMU)
    said = (new.passwd, new.passwd_valid_to, new.connected)
    if said != (old.passwd, old.passwd_valid_to, old.connected) or new.passwd_valid_to is not None:
        orders = password_orders(new)
        before = password_orders(old) or [Order("set_password", {"protocol": "vnc", "password": ""})]
        note_making(guest, [(order.execute, dict(order.arguments)) for order in before])
        try:
            for order in orders:
                await guest.execute(order.execute, order.arguments)
        except BaseException:
            forget_making(guest)
            raise

    def take_in(editor: DeviceEditor) -> None:
        for screen in editor.model.devices.graphics:
            if isinstance(screen, Vnc):
                screen.passwd, screen.passwd_valid_to, screen.connected = said

    _commit(guest, take_in, config)
