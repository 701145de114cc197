"""Whether the parts of a completed document go together: what libvirt checks for any hypervisor.

Every check raises the error that libvirt gives; their order is libvirt's, device by device.
"""

from __future__ import annotations

from typing import Final

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NONE, VIR_FROM_XML
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlDetail, XmlError
from remotevirt.xml.domain.address import USER_ALIAS, DriveAddress
from remotevirt.xml.domain.chardev_rules import check_characters
from remotevirt.xml.domain.cpu_tuning import check_pool
from remotevirt.xml.domain.device import FAMILIES, devices_of
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.disk_rules import check_disk
from remotevirt.xml.domain.document import Devices, DomainModel
from remotevirt.xml.domain.hostdev_rules import check_hostdevs
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.media import Input, Video
from remotevirt.xml.domain.memory_device import MemoryTarget
from remotevirt.xml.domain.rules import check_place, check_virtio, unsupported
from remotevirt.xml.domain.small import PcrBanks

__all__ = ["check_once", "validate_domain"]


HUGE_PAGE: Final = 2048
"""KiB of a transparent huge page: the least block of memory that comes in blocks."""


def validate_domain(model: DomainModel) -> None:
    """Refuse a document whose parts contradict each other."""
    if model.cputune is not None:
        model.cputune.check_amounts()
    if model.blkiotune is not None:
        model.blkiotune.check()
    if model.os.bios is not None:
        model.os.bios.check()
    for pool in (model.default_iothread, *(model.iothread_ids.threads if model.iothread_ids else ())):
        if pool is not None:
            check_pool(pool.pool_min, pool.pool_max)
    cpu = model.cpu
    if cpu is not None and cpu.check is not None and cpu.mode is None and cpu.model is None:
        raise unsupported("check attribute specified for CPU with no model")
    for disk in model.devices.disks:
        check_disk(disk)
    _check_places(model.devices)
    _check_targets(model.devices.disks)
    if "\n" in model.name:
        raise XmlDetail("invalid char in name: \n", domain=VIR_FROM_XML)
    _check_aliases(model)
    for interface in model.devices.interfaces:
        _check_interface(interface)
    for device in model.devices.inputs:
        _check_input(device, model)
    _check_usb(model.devices)
    for video in model.devices.videos:
        _check_video(video)
    check_characters(model.devices)
    _check_small(model.devices)
    _check_timers(model)
    _check_audio(model.devices)
    _check_memories(model.devices, len(model.cpu.numa.cells) if model.cpu and model.cpu.numa else 0)
    _check_controllers(model.devices)
    _check_filesystems(model.devices)
    _check_iommu(model)
    if model.idmap is not None:
        model.idmap.check()


def check_once(devices: Devices) -> None:
    """Refuse two devices where there may be but one of a kind: this is found first."""
    models: set[str | None] = set()
    for panic in devices.panics:
        if panic.model in models:
            name = panic.model or "default"
            raise XmlError(f"Multiple panic devices with model '{name}'", domain=VIR_FROM_DOMAIN)
        models.add(panic.model)


def _check_aliases(model: DomainModel) -> None:
    """Check that no two devices have one name of a user's; a console may be a serial port seen again.

    Names that a hypervisor gave are left alone: the parts of a USB 2 controller share theirs.
    """
    seen: set[str] = set()
    devices = model.devices
    consoles = devices.consoles
    mirrored = bool(
        devices.serials
        and consoles
        and consoles[0].target is not None
        and consoles[0].target.type == "serial"
    )
    for device in (one for tag in FAMILIES for one in devices_of(devices, tag)):
        info = getattr(device, "info", None)
        if info is None or (mirrored and (device.TAG == "serial" or device is consoles[0])):
            continue
        alias = info.alias
        if alias is None or not alias.startswith(USER_ALIAS):
            continue
        if alias in seen:
            raise unsupported(f"non unique alias detected: {alias}")
        seen.add(alias)


def _check_timers(model: DomainModel) -> None:
    """Check that nothing is said of a timer that it does not have."""
    for timer in model.clock.timers:
        timer.check()


def _check_places(devices: Devices) -> None:
    tags = [tag for tag in FAMILIES if tag not in {"disk", "hostdev"}]
    for device in (one for tag in tags for one in devices_of(devices, tag)):
        info = getattr(device, "info", None)
        if info is not None:
            check_place(info)


def _check_targets(disks: list[Disk]) -> None:
    by_name: dict[str, Disk] = {}
    places: set[tuple[str | None, int, int, int, int]] = set()
    for disk in disks:
        other = by_name.setdefault(disk.dev, disk)
        if other is not disk:
            raise XmlError(
                f"target '{disk.dev}' duplicated for disk sources '{_source(other)}' and '{_source(disk)}'",
                domain=VIR_FROM_DOMAIN,
            )
    for disk in disks:
        address = disk.info.address
        if not isinstance(address, DriveAddress):
            continue
        place = (disk.bus, address.controller, address.bus, address.target, address.unit)
        if place in places:
            raise unsupported(
                f"Found duplicate drive address for disk with target name '{_first_at(disks, place)}'"
                f" controller='{address.controller}' bus='{address.bus}' target='{address.target}'"
                f" unit='{address.unit}'"
            )
        places.add(place)


def _first_at(disks: list[Disk], place: tuple[str | None, int, int, int, int]) -> str:
    for disk in disks:
        address = disk.info.address
        if isinstance(address, DriveAddress) and place == (
            disk.bus,
            address.controller,
            address.bus,
            address.target,
            address.unit,
        ):
            return disk.dev
    return ""


def _source(disk: Disk) -> str:
    return (disk.source.place() if disk.source is not None else None) or "<null>"


def _check_input(device: Input, model: DomainModel) -> None:
    if device.bus == "usb" and device.info.address is not None and device.info.address.type != "usb":
        raise XmlError("Invalid address for a USB device", domain=VIR_FROM_DOMAIN)
    kind = model.os.kind.name if model.os.kind else ""
    if kind == "hvm":
        if device.bus == "ps2" and device.type not in {"mouse", "keyboard"}:
            raise InternalError(
                f"ps2 bus does not support {device.type} input device", domain=VIR_FROM_DOMAIN
            )
        if device.bus == "xen":
            raise InternalError(f"unsupported input bus {device.bus}", domain=VIR_FROM_DOMAIN)
    if device.type == "passthrough" and device.bus != "virtio":
        raise unsupported("only bus 'virtio' is supported for 'passthrough' input devices")
    if device.type == "evdev" and device.bus is not None:
        raise unsupported("input evdev doesn't support bus element")
    if device.model is not None and device.bus != "virtio":
        raise unsupported(f"only bus 'virtio' is supported for input model '{device.model}'")


def _check_usb(devices: Devices) -> None:
    controllers = [one for one in devices.controllers if one.type == "usb"]
    if any(one.model == "none" for one in controllers):
        if any(device.bus == "usb" for device in devices.inputs):
            raise unsupported("Can't add USB input device. USB bus is disabled")
        if devices.hubs:
            raise unsupported("Can't add USB hub: USB is disabled for this domain")
    if devices.redirdevs and not any(one.model != "none" for one in controllers):
        raise unsupported("cannot add redirected USB device: USB is disabled for this domain")


def _check_video(video: Video) -> None:
    card = video.model
    assert card is not None
    if video.driver is not None:
        check_virtio(video.driver.virtio, card.type == "virtio")
        if video.driver.name == "vhostuser" and card.type != "virtio":
            raise unsupported("'vhostuser' driver is only supported with 'virtio' device")
    vhost = video.driver is not None and video.driver.name == "vhostuser"
    if card.acceleration is not None and card.acceleration.rendernode is not None and not vhost:
        raise unsupported("unsupported rendernode accel attribute without 'vhostuser'")


def _check_small(devices: Devices) -> None:
    for tpm in devices.tpms:
        backend = tpm.backend
        banks = backend.banks if backend is not None else None
        if banks not in (None, PcrBanks()) and backend is not None and backend.version != "2.0":
            text = "<active_pcr_banks/> requires TPM version '2.0'"
            raise XmlError(text, domain=VIR_FROM_DOMAIN)
    vsock = devices.vsock
    if vsock is not None and vsock.driver is not None:
        check_virtio(vsock.driver.options, vsock.model is not None)


def _check_memories(devices: Devices, cells: int) -> None:
    """Host devices and memory."""
    check_hostdevs(devices)
    for memory in devices.memories:
        node = memory.target.node if memory.target is not None else None
        if node is not None and node >= cells:
            known = f"for guest node '{node}' as the guest has only '{cells}'" if cells else "as guest has no"
            raise XmlDetail(f"can't add memory backend {known} NUMA nodes configured", domain=VIR_FROM_DOMAIN)
        path = memory.source.path if memory.source is not None else None
        if path is None and memory.model in {"nvdimm", "virtio-pmem"}:
            raise XmlDetail(f"path is required for model '{memory.model}'", domain=VIR_FROM_DOMAIN)
        if memory.model == "virtio-pmem" and memory.access != "shared":
            raise unsupported("shared access mode required for virtio-pmem device")
        if memory.model == "virtio-mem" and memory.target is not None:
            _check_blocks(memory.target)
        if memory.model == "sgx-epc" and memory.info.address is not None:
            raise unsupported("memory device address is not supported for model 'sgx-epc'")


def _check_blocks(target: MemoryTarget) -> None:
    """Check the sizes of memory that comes in blocks."""
    block, requested = target.block or 0, target.requested or 0
    if requested > target.size:
        text = f"requested size must be smaller than or equal to @size ({target.size}KiB)"
        raise XmlDetail(text, domain=VIR_FROM_DOMAIN)
    if not block or block & (block - 1):
        raise XmlDetail("block size must be a power of two", domain=VIR_FROM_DOMAIN)
    if block < HUGE_PAGE:
        text = f"block size too small, must be at least {HUGE_PAGE}KiB"
        raise XmlDetail(text, domain=VIR_FROM_DOMAIN)
    if requested % block:
        raise XmlDetail("requested size must be an integer multiple of block size", domain=VIR_FROM_DOMAIN)


def _check_filesystems(devices: Devices) -> None:
    """Check that the guest can tell directories that are shared by virtiofs apart."""
    seen: set[str] = set()
    for one in devices.filesystems:
        if one.driver is None or one.driver.type != "virtiofs" or one.target is None:
            continue
        if one.target in seen:
            raise unsupported(f"filesystem target '{one.target}' specified twice")
        seen.add(one.target)


def _check_controllers(devices: Devices) -> None:
    for controller in devices.controllers:
        if controller.model in {"pci-root", "pcie-root"} and controller.info.address is not None:
            raise unsupported("pci-root and pcie-root controllers should not have an address")
        driver = controller.driver
        virtio = controller.type == "scsi" and controller.model in {
            "virtio-scsi",
            "virtio-transitional",
            "virtio-non-transitional",
        }
        if driver is None:
            continue
        if driver.iothread is not None and not virtio:
            raise XmlError(
                "'iothread' attribute only supported for virtio scsi controllers", domain=VIR_FROM_DOMAIN
            )


def _check_audio(devices: Devices) -> None:
    known: set[int] = set()
    for audio in devices.audios:
        if audio.id in known:
            raise XmlError(f"audio ID {audio.id} is used multiple times", domain=VIR_FROM_DOMAIN)
        known.add(audio.id)
    for user in (*devices.sounds, *(one for one in devices.graphics if one.type == "vnc")):
        audio_ref = getattr(user, "audio", None)
        if audio_ref is not None and audio_ref.id is not None and audio_ref.id not in known:
            raise XmlError(f"no audio device with ID {audio_ref.id}", domain=VIR_FROM_DOMAIN)


def _check_interface(interface: Interface) -> None:
    if interface.driver is not None:
        check_virtio(interface.driver.virtio, interface.is_virtio())
    target = interface.target
    if target is not None and target.managed is False and interface.type != "ethernet":
        raise unsupported(f"unmanaged target dev is not supported on interfaces of type '{interface.type}'")
    if interface.isolated and interface.type not in {"network", "bridge"}:
        mac = interface.mac.address if interface.mac else ""
        raise unsupported(
            f"interface {mac} - <port isolated='yes'/> is not supported for network interfaces"
            f" with type='{interface.type}'"
        )
    if interface.isolated and interface.virtualport is not None and interface.virtualport.type is not None:
        mac = interface.mac.address if interface.mac else ""
        raise unsupported(
            f"interface {mac} - <port isolated='yes'/> is not supported for network interfaces"
            f" with virtualport type='{interface.virtualport.type}'"
        )
    inbound = interface.bandwidth.inbound if interface.bandwidth else None
    if inbound is not None and inbound.floor and interface.type != "network":
        raise ConfigUnsupported("floor attribute is not supported for this config", domain=VIR_FROM_NONE)


def _check_iommu(model: DomainModel) -> None:
    iommu = model.devices.iommu
    if iommu is None:
        return
    if iommu.model != "virtio" and iommu.info.address is not None:
        raise XmlError(f"iommu model '{iommu.model}' can't have address", domain=VIR_FROM_DOMAIN)
    driver = iommu.driver
    if driver is None:
        return
    if driver.intremap and (model.features is None or model.features.ioapic != "qemu"):
        raise unsupported("IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')")
    if driver.eim and not driver.intremap:
        raise unsupported("IOMMU eim requires interrupt remapping to be enabled")
