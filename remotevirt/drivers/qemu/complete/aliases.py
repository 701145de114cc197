"""The names of a running guest's devices: QEMU and its events know devices by them.

Names that users chose stay. The others say what a device is and where it sits, or are numbered by family.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from remotevirt.drivers.qemu.complete.board import Board, find_board
from remotevirt.xml.domain import Devices, DomainModel
from remotevirt.xml.domain.address import DimmAddress, DriveAddress
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.disk import Disk, disk_index
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.memory_device import MemoryDevice

__all__ = ["assign_alias", "assign_aliases"]

_PREFIXES = {
    "filesystem": "fs",
    "interface": "net",
    "hostdev": "hostdev",
    "redirdev": "redir",
    "memballoon": "balloon",
}
"""What names begin with, where it is not the device's own word."""

_NUMBERED = (
    "filesystems",
    "interfaces",
    "sounds",
    "hostdevs",
    "redirdevs",
    "videos",
    "serials",
    "parallels",
    "channels",
    "consoles",
    "hubs",
    "shmems",
    "smartcards",
    "inputs",
    "watchdogs",
    "rngs",
    "tpms",
)
"""Families whose devices are counted."""

_SINGLE = ("memballoon", "vsock", "iommu")

_OF_PLUGGED = {"dimm": "dimm", "nvdimm": "nvdimm", "virtio-pmem": "virtiopmem", "virtio-mem": "virtiomem"}


def assign_aliases(model: DomainModel) -> None:
    """Name all devices of a guest that is about to run."""
    devices, board = model.devices, find_board(model)
    for family in _NUMBERED:
        for number, device in enumerate(getattr(devices, family)):
            if device.info.alias is None:
                counted = family in {"interfaces", "hostdevs"}
                _number(devices, device, None if counted else number)
    for name in _SINGLE:
        device = getattr(devices, name)
        if device is not None and device.info.alias is None and getattr(device, "model", None) != "none":
            _number(devices, device, 0)
    placed: tuple[Any, ...] = (*devices.disks, *devices.controllers, *devices.memories)
    for device in placed:
        if device.info.alias is None:
            _name(model, device, board)
    _share_console(devices)


def assign_alias(model: DomainModel, device: Any) -> None:
    """Name a device that is about to be added to a running guest: it gets a number that nobody has yet."""
    if device.info.alias is not None:
        return
    if isinstance(device, (Disk, Controller, MemoryDevice)):
        _name(model, device, find_board(model))
    elif device.TAG != "panic":
        _number(model.devices, device, None)


def _everything(devices: Devices) -> Iterator[Any]:
    for family in (*_NUMBERED, "memories"):
        yield from getattr(devices, family)


def _number(devices: Devices, device: Any, number: int | None) -> None:
    """Name a device by a number of its family, or by the first after all that are taken."""
    prefix = _PREFIXES.get(device.TAG, device.TAG)
    if isinstance(device, Interface) and device.type == "hostdev":
        prefix = "hostdev"
    if number is None:
        number = _next(devices, prefix)
    device.info.alias = f"{prefix}{number}"


def _next(devices: Devices, prefix: str) -> int:
    taken = (one.info.alias.removeprefix(prefix) for one in _everything(devices) if one.info.alias)
    return 1 + max((int(rest) for rest in taken if rest.isascii() and rest.isdigit()), default=-1)


def _name(model: DomainModel, device: Any, board: Board) -> None:
    if isinstance(device, Disk):
        device.info.alias = _disk_name(model, device)
    elif isinstance(device, Controller):
        device.info.alias = _controller_name(device, board)
    else:
        prefix, address = _OF_PLUGGED.get(device.model, "memory"), device.info.address
        number = address.slot if isinstance(address, DimmAddress) else _next(model.devices, prefix)
        device.info.alias = f"{prefix}{number}"


def _disk_name(model: DomainModel, disk: Disk) -> str:
    address = disk.info.address
    if not isinstance(address, DriveAddress):
        return f"{disk.bus}-disk{disk_index(disk.dev)}"
    place = f"{disk.bus}{address.controller}-{address.bus}"
    if disk.bus == "scsi" and _scsi_model(model, address.controller) != "lsilogic":
        place += f"-{address.target}"
    return f"{place}-{address.unit}"


def _scsi_model(model: DomainModel, index: int) -> str | None:
    found = (one.model for one in model.devices.controllers if one.type == "scsi" and one.index == index)
    return next(found, None)


def _controller_name(controller: Controller, board: Board) -> str:
    kind, index = controller.type, controller.index or 0
    if kind == "pci":
        return "pcie.0" if controller.model == "pcie-root" else f"pci.{index}"
    if index == 0 and (kind == "usb" or (kind == "ide" and board.is_i440fx)):
        return kind
    if index == 0 and kind == "sata" and board.is_q35:
        return "ide"
    return f"{kind}{index}"


def _share_console(devices: Devices) -> None:
    """The console that is the first serial port has that one's name."""
    if not devices.consoles or not devices.serials:
        return
    console = devices.consoles[0]
    if console.target is not None and console.target.type == "serial":
        console.info.alias = devices.serials[0].info.alias
