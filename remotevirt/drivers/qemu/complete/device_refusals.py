"""What this driver cannot give a guest of devices, in libvirt's words."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.qemu.complete.board import Board, unsupported
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain import Devices, DomainModel
from remotevirt.xml.domain.address import DriveAddress
from remotevirt.xml.domain.chardev import Console, Serial
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.filesystem import Filesystem, SharedMemory
from remotevirt.xml.domain.graphics import Graphics, Vnc
from remotevirt.xml.domain.media import Input, Video
from remotevirt.xml.domain.small import Iommu, Panic, Tpm

__all__ = ["check_device", "check_devices", "check_early_devices"]


def check_early_devices(model: DomainModel, board: Board) -> None:
    """Refuse what libvirt refuses before it gives addresses. Raises VirError."""
    for controller in model.devices.controllers:
        if controller.type == "ide" and controller.index and board.is_i440fx:
            raise unsupported("Only a single IDE controller is supported for this machine type")
    for serial in model.devices.serials:
        _check_serial(serial)
    if model.devices.iommu is not None:
        _check_iommu(model.devices.iommu, model, board)
    for disk in model.devices.disks:
        address = disk.info.address
        if disk.bus == "virtio" and isinstance(address, DriveAddress):
            raise unsupported(f"virtio disk cannot have an address of type '{address.type}'")
        if disk.bus == "scsi" and isinstance(address, DriveAddress) and address.bus:
            raise InternalError("SCSI controller only supports 1 bus", domain=c.VIR_FROM_QEMU)
    for console in model.devices.consoles:
        _check_console(console)


def check_devices(model: DomainModel, emulator: Emulator, board: Board) -> None:
    """Refuse devices of a guest. Raises VirError."""
    devices = model.devices
    families: tuple[list[Any], ...] = (
        devices.panics,
        devices.videos,
        devices.disks,
        devices.filesystems,
        devices.controllers,
        devices.inputs,
        devices.tpms,
        devices.graphics,
        devices.shmems,
    )
    for family in families:
        for device in family:
            check_device(device, model, emulator, board)
    for watchdog in devices.watchdogs:
        if watchdog.model == "diag288":
            raise unsupported("diag288 model of watchdog is allowed for s390 and s390x only")
    if len(devices.smartcards) > 1:
        raise unsupported("this QEMU binary lacks multiple smartcard support")
    if any(one.mode == "capabilities" for one in devices.hostdevs):
        raise unsupported("hostdev mode 'capabilities' is not supported in qemu")
    if devices.nvram is not None:
        raise unsupported("nvram device is only supported for PPC64")
    _check_spice_channels(devices)


def check_device(device: Any, model: DomainModel, emulator: Emulator, board: Board) -> None:
    """Refuse one device, of a guest or to be added to it. Raises VirError."""
    match device:
        case Disk():
            _check_disk(device, model)
        case Controller():
            _check_controller(device, board)
        case Filesystem():
            _check_filesystem(device, model)
        case Input():
            if device.bus == "ps2" and device.type in {"mouse", "keyboard"} and not board.has_ps2:
                raise unsupported("ps2 is not supported by this QEMU binary")
        case Tpm():
            _check_tpm(device, emulator)
        case Graphics():
            _check_graphics(device)
        case Video():
            _check_video(device, model, emulator)
        case Panic():
            _check_panic(device, emulator)
        case SharedMemory():
            _check_shmem(device)


def _check_disk(disk: Disk, model: DomainModel) -> None:
    driver = disk.driver
    if driver is not None and driver.name not in {None, "qemu"}:
        raise unsupported(f"unsupported driver name '{driver.name}' for disk '{disk.dev}'")
    if disk.bus == "virtio" and disk.device in {"cdrom", "floppy"}:
        raise unsupported(f"disk type of '{disk.dev}' does not support ejectable media")
    if disk.bus in {"ide", "sata"} and disk.device == "disk" and disk.readonly:
        raise unsupported(f"readonly {disk.bus} disks are not supported")
    _check_scsi_place(disk, model)
    if disk.type == "vhostuser" and not shares_memory(model):
        raise unsupported("'vhostuser' requires shared memory")
    if driver is None:
        return
    if disk.type == "dir" and driver.type != "fat":
        raise unsupported("storage type 'dir' requires use of storage format 'fat'")
    if driver.io == "native" and driver.cache not in {"none", "directsync"}:
        raise unsupported("io='native' needs either no disk cache or directsync cache mode")
    if driver.iothread is not None:
        _check_iothread(disk, driver.iothread, model)


def _check_scsi_place(disk: Disk, model: DomainModel) -> None:
    address = disk.info.address
    if disk.bus != "scsi" or not isinstance(address, DriveAddress) or not address.target:
        return
    found = (one for one in model.devices.controllers if one.type == "scsi")
    if any(one.index == address.controller and one.model == "lsilogic" for one in found):
        raise unsupported("target must be 0 for controller model 'lsilogic'")


def _check_iothread(disk: Disk, number: int, model: DomainModel) -> None:
    if disk.bus != "virtio":
        raise unsupported(f"IOThreads not available for bus {disk.bus} target {disk.dev}")
    if model.iothread_ids is not None:
        known = {thread.id for thread in model.iothread_ids.threads}
    else:
        known = set(range(1, (model.iothreads or 0) + 1))
    if number not in known:
        raise unsupported(f"Disk iothread '{number}' not defined in iothreadid")


def shares_memory(model: DomainModel) -> bool:
    """Whether another process can see all of the guest's memory."""
    backing = model.memory_backing
    if backing is not None and backing.access == "shared":
        return True
    cells = model.cpu.numa.cells if model.cpu is not None and model.cpu.numa is not None else []
    return bool(cells) and all(cell.access == "shared" for cell in cells)


def _check_controller(controller: Controller, board: Board) -> None:
    kind, model = controller.type, controller.model
    if kind == "ide" and not board.is_i440fx:
        raise unsupported("IDE controllers are unsupported for this QEMU binary or machine type")
    if kind == "scsi" and model == "buslogic":
        raise unsupported(f"Unsupported controller model: {model}")
    if kind == "scsi" and model == "ncr53c90":
        raise unsupported(f"{model} SCSI controller is not a built-in for this machine")
    if kind == "usb" and model in {"qusb1", "qusb2"}:
        raise unsupported("USB controller model type 'qusb1' or 'qusb2' is not supported in qemu")
    if kind == "fdc" and controller.index:
        raise InternalError("Only 1 fdc controller is supported", domain=c.VIR_FROM_QEMU)
    name = controller.pci_model.name if controller.pci_model is not None else None
    if kind == "pci" and name is not None and name not in PCI_DEVICES.get(model or "", {name}):
        raise unsupported(
            f"Option 'modelName' has invalid value for PCI controller with index '{controller.index}', model"
            f" '{model}' and modelName '{name}'"
        )


def _check_filesystem(filesystem: Filesystem, model: DomainModel) -> None:
    if filesystem.type != "mount":
        raise unsupported("only supports mount filesystem type")
    if filesystem.driver is not None and filesystem.driver.type == "virtiofs" and not shares_memory(model):
        raise unsupported("'virtiofs' requires shared memory")


def _check_tpm(tpm: Tpm, emulator: Emulator) -> None:
    """Emulated modules need another program, which is not run here: libvirt says this if it is missing."""
    backend = tpm.backend
    if backend is not None and backend.type == "emulator":
        raise unsupported(f"TPM version '{backend.version}' is not supported")
    if backend is not None and backend.type == "external":
        raise unsupported(
            f"The QEMU executable {emulator.path} does not support TPM backend type {backend.type}"
        )


def _check_graphics(graphics: Graphics) -> None:
    if graphics.type in {"rdp", "desktop"}:
        raise unsupported(f"{graphics.type} graphics are not supported with this QEMU")
    if isinstance(graphics, Vnc) and len(graphics.passwd or "") > MAX_VNC_PASSWORD:
        length = len(graphics.passwd or "")
        raise unsupported(f"VNC password is {length} characters long, only {MAX_VNC_PASSWORD} permitted")
    if graphics.type == "spice" and (getattr(graphics, "tls_port", None) or 0) > 0:
        raise unsupported("spice TLS port set in XML configuration, but TLS is disabled in qemu.conf")


MAX_VNC_PASSWORD = 8
"""Characters that the protocol makes a key of; what comes after them would not count."""

MEBIBYTE = 1024
"""In KiB."""

PCI_DEVICES = {
    "pcie-root-port": {"pcie-root-port", "ioh3420"},
    "pci-bridge": {"pci-bridge"},
    "dmi-to-pci-bridge": {"i82801b11-bridge"},
    "pcie-to-pci-bridge": {"pcie-pci-bridge"},
    "pcie-switch-upstream-port": {"x3130-upstream"},
    "pcie-switch-downstream-port": {"xio3130-downstream"},
    "pci-expander-bus": {"pxb"},
    "pcie-expander-bus": {"pxb-pcie"},
}
"""The QEMU devices that make each kind of PCI controller."""

VIDEO_DEVICES = {
    "vga": "VGA",
    "cirrus": "cirrus-vga",
    "vmvga": "vmware-svga",
    "qxl": "qxl",
    "virtio": "virtio-gpu-device",
    "bochs": "bochs-display",
    "ramfb": "ramfb",
}
"""The QEMU device by which an emulator shows that it has a kind of graphics card."""


def _check_video(video: Video, model: DomainModel, emulator: Emulator) -> None:
    kind = (video.model.type if video.model else None) or ""
    if kind == "none":
        return
    if VIDEO_DEVICES.get(kind) not in emulator.devices:
        raise unsupported(f"domain configuration does not support video model '{kind}'")
    card = video.model
    assert card is not None
    if card.acceleration is not None and card.acceleration.accel3d and kind != "virtio":
        raise unsupported("3d acceleration is supported only with 'virtio' video device")
    if (card.heads or 0) > 1 and kind not in {"qxl", "virtio"}:
        raise unsupported(f"video type '{kind}' doesn't support multiple 'heads'")
    for what in ("vram", "vgamem"):
        size = getattr(card, what)
        if size is not None and size < MEBIBYTE and kind != "cirrus":
            raise unsupported(f"value for '{what}' must be at least 1 MiB (1024 KiB)")
    first = model.devices.videos[0] if model.devices.videos else video
    if video is not first and kind not in {"qxl", "virtio"}:
        raise unsupported(f"video type '{kind}' is only valid as primary video device")


def _check_panic(panic: Panic, emulator: Emulator) -> None:
    if panic.model == "pseries":
        raise unsupported(f"only pSeries guests support panic device of model '{panic.model}'")
    if panic.model == "s390":
        raise unsupported(f"only S390 guests support panic device of model '{panic.model}'")
    if panic.model == "isa" and "pvpanic" not in emulator.devices:
        raise unsupported("the QEMU binary does not support the ISA panic device")


def _check_shmem(shmem: SharedMemory) -> None:
    if shmem.model == "ivshmem":
        raise unsupported("ivshmem device is not supported with this QEMU binary")
    if shmem.model == "ivshmem-doorbell" and shmem.size is not None:
        raise unsupported(f"shmem model '{shmem.model}' does not support size setting")


def _check_iommu(iommu: Iommu, model: DomainModel, board: Board) -> None:
    name = iommu.model
    acpi = model.features is not None and model.features.acpi
    if name == "intel" and not board.is_q35:
        raise unsupported(f"IOMMU device: '{name}' is only supported with Q35 machines")
    if name == "smmuv3" and not board.is_virt:
        raise unsupported(f"IOMMU device: '{name}' is only supported with ARM Virt machines")
    if name == "virtio":
        if not board.is_q35 and not board.is_virt:
            raise unsupported(f"IOMMU device: '{name}' is only supported with Q35 and ARM Virt machines")
        if not acpi:
            raise unsupported(f"IOMMU device: '{name}' requires ACPI")


_TARGET_OF_MODEL = {
    "isa-serial": "isa-serial",
    "usb-serial": "usb-serial",
    "pci-serial": "pci-serial",
    "spapr-vty": "spapr-vio-serial",
    "pl011": "system-serial",
    "16550a": "system-serial",
    "sclpconsole": "sclp-serial",
    "sclplmconsole": "sclp-serial",
    "isa-debugcon": "isa-debug",
}


_FOREIGN = {"sclp-serial": "sclpconsole", "spapr-vio-serial": "spapr-vty"}
"""Serial ports of machines that this driver does not know, and their usual models."""


def _check_serial(serial: Serial) -> None:
    target = serial.target
    if target is not None and target.type in _FOREIGN:
        model = target.model.name if target.model is not None else _FOREIGN[target.type]
        raise unsupported(
            f"Serial device with target type '{target.type}' and target model '{model}' not compatible with"
            " guest architecture or machine type"
        )
    name = target.model.name if target is not None and target.model is not None else None
    if target is None or name is None or target.type is None:
        return
    wanted = _TARGET_OF_MODEL[name]
    if target.type != wanted:
        raise unsupported(f"Target model '{name}' requires target type '{wanted}'")


def _check_console(console: Console) -> None:
    kind = console.target.type if console.target is not None else None
    if kind in {"sclp", "sclplm"}:
        name = "sclpconsole" if kind == "sclp" else "sclplmconsole"
        raise unsupported(f"{name} is not supported in this QEMU binary")
    if kind not in {None, "serial", "virtio"}:
        raise unsupported(f"unsupported console target type {kind}")


def _check_spice_channels(devices: Devices) -> None:
    if any(graphics.type == "spice" for graphics in devices.graphics):
        return
    users: tuple[Any, ...] = (*devices.channels, *devices.redirdevs, *devices.smartcards)
    for user in users:
        if user.backend is not None and user.backend.type == "spicevmc":
            raise unsupported("chardev 'spicevmc' not supported without spice graphics")
