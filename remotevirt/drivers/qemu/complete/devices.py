"""What devices leave out and this driver fills in: models, targets and sizes."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.qemu.complete.board import Board
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.chardev import Serial, SerialTarget, TargetModel
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.disk import Disk, DiskDriver
from remotevirt.xml.domain.hostdev import HostDevice
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.media import Video
from remotevirt.xml.domain.small import Panic, Tpm, Vsock

__all__ = ["complete_device", "complete_devices", "video_type"]


def video_type(board: Board) -> str:
    """Return the kind of a graphics card that does not say."""
    return "virtio" if board.is_virt else "cirrus"


def complete_devices(model: DomainModel, board: Board) -> None:
    """Fill in all devices of a guest. Raises VirError."""
    devices = model.devices
    families: tuple[list[Any], ...] = (
        devices.disks,
        devices.controllers,
        devices.interfaces,
        devices.serials,
        devices.videos,
        devices.panics,
        devices.tpms,
        devices.hostdevs,
        [devices.vsock] if devices.vsock is not None else [],
    )
    for family in families:
        for device in family:
            complete_device(device, board)


def complete_device(device: Any, board: Board) -> None:
    """Fill in one device. Raises VirError."""
    if isinstance(device, Disk):
        _complete_disk(device)
    elif isinstance(device, Controller):
        _complete_controller(device, board)
    elif isinstance(device, Interface):
        _complete_interface(device, board)
    elif isinstance(device, Serial):
        _complete_serial(device, board)
    elif isinstance(device, Video):
        _complete_video(device)
    elif isinstance(device, Panic):
        device.model = device.model or "isa"
    elif isinstance(device, Tpm):
        _complete_tpm(device)
    elif isinstance(device, Vsock):
        device.model = device.model or "virtio"
    elif isinstance(device, HostDevice):
        _complete_hostdev(device)


def _complete_disk(disk: Disk) -> None:
    driver = disk.driver = disk.driver or DiskDriver()
    driver.name = driver.name or "qemu"
    if disk.type == "volume":
        return
    # Nobody looks into an image to find out what it is: its first bytes are the guest's.
    driver.type = driver.type or "raw"


def _complete_controller(controller: Controller, board: Board) -> None:
    kind = controller.type
    if kind == "scsi" and controller.model in {None, "auto"}:
        controller.model = "lsilogic"
    elif kind == "usb" and controller.model is None:
        controller.model = "piix3-uhci" if board.is_x86 else "qemu-xhci"


def _complete_interface(interface: Interface, board: Board) -> None:
    if interface.model is None and interface.type != "hostdev":
        old = board.is_x86 and interface.type != "vdpa"
        interface.model = "rtl8139" if old else "virtio"


_SERIAL_MODELS = {
    "isa-serial": "isa-serial",
    "usb-serial": "usb-serial",
    "pci-serial": "pci-serial",
    "isa-debug": "isa-debugcon",
}


def _complete_serial(serial: Serial, board: Board) -> None:
    target = serial.target = serial.target or SerialTarget()
    if target.type is None or (target.type == "isa-serial" and board.is_virt):
        target.type = "isa-serial" if board.is_x86 else "system-serial"
    if target.model is None or target.model.name is None:
        name = _SERIAL_MODELS.get(target.type)
        if target.type == "system-serial" and board.is_virt:
            name = "pl011"
        if name is not None:
            target.model = TargetModel()
            target.model.name = name


def _complete_video(video: Video) -> None:
    card = video.model
    if card is None:
        return
    if card.type == "qxl" and card.vgamem is None:
        card.vgamem = QXL_FRAME_BUFFER
    for name in ("ram", "vram", "vram64", "vgamem"):
        size = getattr(card, name)
        if size:
            setattr(card, name, 1 << (size - 1).bit_length())


QXL_FRAME_BUFFER = 16384
"""KiB that QXL has for what is on the screen."""


def _complete_hostdev(device: HostDevice) -> None:
    if device.type == "mdev" and device.model == "vfio-pci" and device.display is None:
        device.display = False


def _complete_tpm(tpm: Tpm) -> None:
    if tpm.backend is None:
        return
    if tpm.model is None:
        tpm.model = "tpm-tis"
    if tpm.backend.type == "emulator" and tpm.backend.version is None:
        tpm.backend.version = "2.0" if tpm.model == "tpm-crb" else "1.2"
