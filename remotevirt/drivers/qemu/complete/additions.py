"""The devices, the CPU and the features that every guest of a machine gets, whatever its document says."""

from __future__ import annotations

from remotevirt.drivers.qemu.complete.board import Board
from remotevirt.drivers.qemu.emulator import Machine
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.domain import Devices, DomainModel
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.cpu import Cpu, CpuModel
from remotevirt.xml.domain.features import Features, Gic
from remotevirt.xml.domain.media import Audio, Input
from remotevirt.xml.domain.os import Nvram
from remotevirt.xml.domain.small import MemoryBalloon

__all__ = [
    "add_controller",
    "add_cpu",
    "add_devices",
    "add_features",
    "add_nvram",
    "name_security",
    "nvram_path",
]


def add_devices(model: DomainModel, board: Board) -> None:
    """Add controllers, memory balloon, keyboard and mouse, and what plays the sound.

    Raises:
        XmlError: the document has another first PCI controller than the machine.
    """
    devices = model.devices
    if any(one.mode == "subsystem" and one.type == "scsi" for one in devices.hostdevs):
        add_controller(devices, "scsi", 0)
    if board.is_x86:
        add_controller(devices, "usb", 0, "qemu-xhci" if board.is_q35 else None)
    if board.is_q35:
        add_controller(devices, "sata", 0)
    if board.root is not None:
        _add_root(devices, board.root)
    if devices.memballoon is None and board.is_x86:
        devices.memballoon = MemoryBalloon()
        devices.memballoon.model = "virtio"
    if board.has_ps2:
        for kind in ("mouse", "keyboard"):
            _add_input(devices, kind)
    _add_audio(devices)


def add_controller(devices: Devices, kind: str, index: int, model: str | None = None) -> bool:
    """Add a controller unless there is one of its type and number; returns whether it was added."""
    for controller in devices.controllers:
        if controller.type == kind and (
            controller.index == index or (index == 0 and controller.index is None)
        ):
            return False
    controller = Controller()
    controller.type, controller.index, controller.model = kind, index, model
    devices.controllers.append(controller)
    return True


def _add_root(devices: Devices, root: str) -> None:
    for controller in devices.controllers:
        if controller.type == "pci" and controller.index == 0:
            if controller.model is None:
                controller.model = root
            if controller.model != root:
                raise XmlError(
                    f"The PCI controller with index='0' must be model='{root}' for this machine type,"
                    f" but model='{controller.model}' was found instead",
                    domain=c.VIR_FROM_QEMU,
                )
            return
    controller = Controller()
    controller.type, controller.index, controller.model = "pci", 0, root
    devices.controllers.append(controller)


def _add_input(devices: Devices, kind: str) -> None:
    if any(device.type == kind and device.bus in {None, "ps2"} for device in devices.inputs):
        return
    device = Input()
    device.type, device.bus = kind, "ps2"
    devices.inputs.append(device)


def _add_audio(devices: Devices) -> None:
    """What plays the sound goes with what shows the picture: a viewer with SPICE hears it, with VNC not."""
    if devices.audios:
        return
    kind = None if devices.graphics else "none"
    for graphics in devices.graphics:
        kind = {"vnc": "none", "spice": "spice"}.get(graphics.type, kind)
    if kind is not None:
        audio = Audio()
        audio.id, audio.type = 1, kind
        devices.audios.append(audio)


def add_cpu(model: DomainModel, board: Board, machine: Machine | None) -> None:
    """Say which CPU the machine has of its own, where the document asks for none, and how it is checked."""
    cpu = model.cpu
    if (cpu is None or cpu.mode is None) and machine is not None and machine.default_cpu is not None:
        cpu = model.cpu = cpu or Cpu()
        cpu.mode, cpu.match, cpu.check = "custom", "exact", "none"
        cpu.model = CpuModel()
        cpu.model.fallback = "forbid"
        # QOM calls it "qemu64-x86_64-cpu"; an architecture has no hyphen.
        cpu.model.name = machine.default_cpu.rsplit("-", 2)[0]
    if cpu is None:
        return
    if cpu.check is None:
        partial = cpu.mode == "host-model" or (cpu.mode == "custom" and model.type == "kvm")
        cpu.check = "partial" if partial else "none"
    if cpu.mode == "host-passthrough" and cpu.migratable is None and board.is_x86:
        cpu.migratable = True


def add_features(model: DomainModel, board: Board) -> None:
    """Say which interrupt controller ARM's virtual machine has."""
    if not board.is_virt:
        return
    features = model.features = model.features or Features()
    features.gic = features.gic or Gic()
    features.gic.version = features.gic.version or "2"


def name_security(model: DomainModel) -> None:
    """Labels belong to a security driver; here there is none, and that is its name."""
    for label in model.seclabels:
        if label.type is not None and label.model is None:
            label.model = "none"


def add_nvram(model: DomainModel, directory: str) -> None:
    """Say where the firmware keeps its variables; firmware that the driver shall choose has none yet."""
    loader = model.os.loader
    if loader is None or model.os.firmware is not None or loader.type != "pflash" or not loader.readonly:
        return
    if loader.stateless:
        return
    nvram = model.os.nvram = model.os.nvram or Nvram()
    if nvram.path is None and nvram.source is None:
        nvram.path = nvram_path(directory, model.name)


def nvram_path(directory: str, name: str) -> str:
    """Return where the firmware's variables of a domain are that does not say it."""
    return f"{directory}/{name}_VARS.fd"
