"""Whether the parts of a completed document go together: what libvirt checks for any hypervisor.

Every check raises the error that libvirt gives; their order is libvirt's, device by device.
"""

from __future__ import annotations

import re

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NONE
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain.address import DriveAddress
from remotevirt.xml.domain.disk import Disk, VirtioOptions
from remotevirt.xml.domain.document import DomainModel
from remotevirt.xml.domain.interface import Interface

__all__ = ["validate_domain"]

_WWN = re.compile(r"(?:0[xX])?[0-9a-fA-F]{16}\Z")


def validate_domain(model: DomainModel) -> None:
    """Refuse a document whose parts contradict each other."""
    _check_aliases(model)
    for disk in model.devices.disks:
        _check_disk(disk)
    _check_targets(model.devices.disks)
    for interface in model.devices.interfaces:
        _check_interface(interface)


def unsupported(text: str) -> ConfigUnsupported:
    """A configuration that no hypervisor takes."""
    return ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)


def check_virtio(options: VirtioOptions, virtio: bool) -> None:
    """Virtio's switches are for virtio devices."""
    if virtio:
        return
    for name in ("iommu", "ats", "packed", "page_per_vq"):
        if getattr(options, name) is not None:
            raise unsupported(f"{name} driver option is only supported for virtio devices")


def _check_aliases(model: DomainModel) -> None:
    seen: set[str] = set()
    devices = model.devices
    everything = (
        *devices.disks,
        *devices.interfaces,
        *devices.controllers,
        *devices.inputs,
        *devices.sounds,
        *devices.videos,
        *devices.hostdevs,
        *devices.serials,
        *devices.channels,
    )
    for device in everything:
        alias = device.info.alias
        if alias is None:
            continue
        if alias in seen:
            raise unsupported(f"non unique alias detected: {alias}")
        seen.add(alias)


def _check_disk(disk: Disk) -> None:
    target = disk.target
    assert target is not None
    bus = disk.bus
    if disk.device == "lun" and disk.type not in {"block", "network", "volume"}:
        raise unsupported("disk device='lun' is only valid for block type disk source")
    if disk.device != "lun":
        if disk.rawio is not None:
            raise unsupported("rawio can be used only with device='lun'")
        if disk.sgio is not None:
            raise unsupported("sgio can be used only with device='lun'")
    if disk.sgio == "unfiltered":
        raise unsupported("unfiltered sgio is no longer supported")
    if target.tray is not None and disk.device not in {"cdrom", "floppy"}:
        raise unsupported("tray is only valid for cdrom and floppy")
    if target.removable is not None and bus != "usb":
        raise XmlError("removable is only valid for usb disks", domain=VIR_FROM_DOMAIN)
    if disk.model is not None and bus != "virtio":
        raise unsupported(f"disk model '{disk.model}' not supported for bus '{bus}'")
    driver = disk.driver
    if driver is not None:
        check_virtio(driver.virtio, bus == "virtio")
        if bus != "virtio":
            for name in ("ioeventfd", "event_idx"):
                if getattr(driver, name) is not None:
                    raise unsupported(f"disk {name} mode supported only for virtio bus")
            if driver.queues is not None:
                raise unsupported("queues attribute in disk driver element is only supported by virtio-blk")
            if driver.queue_size is not None:
                raise unsupported("queue_size attribute in disk driver is only supported by virtio-blk")
    source = disk.source
    if source is not None:
        extra = getattr(source, "extra", None)
        if extra is not None and extra.encryption is not None and extra.encryption.cipher is not None:
            raise unsupported("supplying <cipher> for domain disk definition is unnecessary")
        if extra is not None and extra.reservations is not None and disk.device != "lun":
            raise unsupported("<reservations/> allowed only for lun devices")
        if getattr(source, "fdgroup", None) is not None:
            raise unsupported(f"driver does not support FD passing for disk '{disk.dev}'")
    if disk.encryption is not None and disk.encryption.cipher is not None:
        raise unsupported("supplying <cipher> for domain disk definition is unnecessary")
    if disk.wwn is not None and not _WWN.match(disk.wwn):
        raise InternalError(f"Malformed wwn: {disk.wwn}", domain=VIR_FROM_NONE)
    for name, text, limit in (("vendor", disk.vendor, 8), ("product", disk.product, 16)):
        if text is None:
            continue
        if not all(" " <= letter <= "~" for letter in text):
            raise XmlError(f"disk {name} is not printable string", domain=VIR_FROM_DOMAIN)
        if len(text) > limit:
            raise unsupported(f"disk {name} is more than {limit} characters")
    address = disk.info.address
    if address is not None and getattr(address, "type", None) == "unassigned":
        raise unsupported("address of type 'unassigned' is supported only for hostdevs")


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
    return (disk.source.place() if disk.source is not None else None) or "(null)"


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
