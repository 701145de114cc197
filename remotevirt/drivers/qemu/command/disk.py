"""Disks as the guest sees them, on each of their buses, and their limits."""

from __future__ import annotations

from typing import Any, Final

from remotevirt.drivers.qemu.command.controllers import is_built_in
from remotevirt.drivers.qemu.command.parts import Order, Part
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported, virtio_options
from remotevirt.drivers.qemu.command.storage import block_parts, node_of
from remotevirt.xml.domain.address import DriveAddress, PlainAddress
from remotevirt.xml.domain.disk import Disk, DiskDriver, IoTune

__all__ = ["block_id", "parts_of_disk", "throttle_of"]

_WRITE_BACK: Final = {
    "none": "on",
    "writeback": "on",
    "unsafe": "on",
    "writethrough": "off",
    "directsync": "off",
}
"""Whether the disk says that it has a cache, by cache mode."""

_THROTTLES: Final = {
    "bps": "total_bytes_sec",
    "bps_rd": "read_bytes_sec",
    "bps_wr": "write_bytes_sec",
    "iops": "total_iops_sec",
    "iops_rd": "read_iops_sec",
    "iops_wr": "write_iops_sec",
}
"""Limits that must always be given, in QEMU's words and libvirt's."""

_BURSTS: Final = {
    "bps_max": "total_bytes_sec_max",
    "bps_rd_max": "read_bytes_sec_max",
    "bps_wr_max": "write_bytes_sec_max",
    "iops_max": "total_iops_sec_max",
    "iops_rd_max": "read_iops_sec_max",
    "iops_wr_max": "write_iops_sec_max",
    "bps_max_length": "total_bytes_sec_max_length",
    "bps_rd_max_length": "read_bytes_sec_max_length",
    "bps_wr_max_length": "write_bytes_sec_max_length",
    "iops_max_length": "total_iops_sec_max_length",
    "iops_rd_max_length": "read_iops_sec_max_length",
    "iops_wr_max_length": "write_iops_sec_max_length",
    "iops_size": "size_iops_sec",
    "group": "group_name",
}


def parts_of_disk(setting: Setting, disk: Disk) -> list[Part]:
    """Return a disk: its block nodes, then the device. Raises VirError where it cannot be had."""
    return [*block_parts(setting, disk), Part("device", _device(setting, disk))]


def block_id(disk: Disk) -> str:
    """Return what QMP calls a disk among block devices: ``id`` in commands, ``qdev`` in answers."""
    alias = alias_of(disk.info, "disk")
    if disk.bus != "virtio" or isinstance(disk.info.address, PlainAddress):
        return alias
    return f"/machine/peripheral/{alias}/virtio-backend"


def throttle_of(disk: Disk) -> Order | None:
    """Return the command that sets a disk's limits once it is there, None if it has none."""
    if disk.iotune is None or disk.iotune == IoTune():
        return None
    tune = disk.iotune
    arguments: dict[str, Any] = {"id": block_id(disk)}
    arguments |= {word: getattr(tune, name) or 0 for word, name in _THROTTLES.items()}
    for word, name in _BURSTS.items():
        value = getattr(tune, name)
        if value is not None:
            arguments[word] = value
    if "group" not in arguments:
        arguments["group"] = f"drive-{alias_of(disk.info, 'disk')}"
    return Order("block_set_io_throttle", arguments)


def _device(setting: Setting, disk: Disk) -> dict[str, Any]:
    bus = disk.bus
    if disk.device == "lun":
        raise unsupported("disk device='lun' is not supported by this driver")
    if disk.device == "floppy" and bus != "fdc":
        raise unsupported(f"disk type '{disk.dev}' on bus '{bus}' is not a floppy")
    driver = disk.driver or DiskDriver()
    if bus != "virtio":
        _only_virtio(disk, driver)
    if bus == "virtio":
        head = _virtio(setting, disk, driver)
    elif bus in {"ide", "sata"}:
        head = _ide(setting, disk)
    elif bus == "scsi":
        head = _scsi(setting, disk)
    elif bus == "usb":
        if disk.source_is_empty():
            raise unsupported(f"disk type 'usb' of '{disk.dev}' does not support ejectable media")
        head = {"driver": "usb-storage", **setting.place(disk.info.address)}
    elif bus == "fdc":
        address = disk.info.address
        head = {"driver": "floppy", "unit": address.unit if isinstance(address, DriveAddress) else 0}
    else:
        raise unsupported(f"unsupported disk bus '{bus}' with device setup")
    return {**head, **_common(setting, disk, driver)}


def _only_virtio(disk: Disk, driver: DiskDriver) -> None:
    if driver.iothread is not None:
        raise unsupported(f"IOThreads not available for bus {disk.bus} target {disk.dev}")
    if driver.queues is not None or driver.queue_size is not None:
        raise unsupported("queues attribute in disk driver element is only supported by virtio-blk")
    if driver.ioeventfd is not None or driver.event_idx is not None:
        raise unsupported("disk ioeventfd and event_idx modes are only supported for virtio bus")
    if virtio_options(driver.virtio):
        raise unsupported("iommu driver option is only supported for virtio devices")


def _virtio(setting: Setting, disk: Disk, driver: DiskDriver) -> dict[str, Any]:
    if disk.device != "disk":
        raise unsupported(f"disk type 'virtio' of '{disk.dev}' does not support ejectable media")
    model = disk.model if disk.model != "virtio" else None
    values: dict[str, Any] = {"driver": setting.virtio("blk", model, disk.info.address)}
    if driver.iothread is not None:
        if driver.iothread not in setting.iothreads:
            raise unsupported(f"Disk iothread '{driver.iothread}' not defined in iothreadid")
        values["iothread"] = f"iothread{driver.iothread}"
    pairs = {
        "ioeventfd": driver.ioeventfd,
        "event_idx": driver.event_idx,
        "num-queues": driver.queues,
        "queue-size": driver.queue_size,
    }
    values |= {key: value for key, value in pairs.items() if value is not None}
    return {**values, **virtio_options(driver.virtio), **setting.place(disk.info.address)}


def _drive_address(disk: Disk) -> DriveAddress:
    address = disk.info.address
    if not isinstance(address, DriveAddress):
        raise unsupported(f"unexpected address type for {disk.bus} disk")
    return address


def _ide(setting: Setting, disk: Disk) -> dict[str, Any]:
    address = _drive_address(disk)
    kind = "ide-cd" if disk.device == "cdrom" else "ide-hd"
    controller = setting.controller(disk.bus or "", address.controller)
    if disk.bus == "ide":
        if not is_built_in(setting, controller):
            raise unsupported("Only a single IDE controller is supported for this machine type")
        return {"driver": kind, "bus": f"ide.{address.bus}", "unit": address.unit}
    built_in = is_built_in(setting, controller)
    alias = "ide" if built_in else alias_of(controller.info, "controller")
    return {"driver": kind, "bus": f"{alias}.{address.unit}"}


def _scsi(setting: Setting, disk: Disk) -> dict[str, Any]:
    address = _drive_address(disk)
    controller = setting.controller("scsi", address.controller)
    alias = alias_of(controller.info, "controller")
    values: dict[str, Any] = {
        "driver": "scsi-cd" if disk.device == "cdrom" else "scsi-hd",
        "bus": f"{alias}.0",
    }
    if (controller.model or "lsilogic") in {"lsilogic", "dc390", "am53c974"}:
        if address.target:
            raise unsupported("target must be 0 for controller model 'lsilogic'")
        if address.unit > 7:
            raise unsupported("unit must be <=7 for controller model 'lsilogic'")
        values["scsi-id"] = address.unit
    else:
        values |= {"channel": address.bus, "scsi-id": address.target, "lun": address.unit}
    return {**values, "device_id": disk.serial or f"drive-{alias_of(disk.info, 'disk')}"}


def _common(setting: Setting, disk: Disk, driver: DiskDriver) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if disk.shareable:
        values["share-rw"] = True
    node = node_of(disk)
    if node is not None:
        values["drive"] = node
    elif disk.device == "disk":
        raise unsupported(f"disk '{disk.dev}' has no source")
    values["id"] = alias_of(disk.info, "disk")
    values |= setting.boot_index(disk)
    if disk.blockio is not None:
        for name, size in (("logical", disk.blockio.logical), ("physical", disk.blockio.physical)):
            if size is not None:
                values[f"{name}_block_size"] = size
    values |= _identity(disk)
    if disk.device == "disk" and driver.cache is not None:
        values["write-cache"] = _WRITE_BACK[driver.cache]
    if disk.serial is not None:
        values["serial"] = disk.serial
    if driver.error_policy is not None:
        values["werror"] = driver.error_policy.replace("enospace", "enospc")
        if driver.error_policy != "enospace":
            values["rerror"] = driver.error_policy
    if driver.rerror_policy is not None:
        values["rerror"] = driver.rerror_policy
    return values


def _identity(disk: Disk) -> dict[str, Any]:
    """What a disk says of itself."""
    values: dict[str, Any] = {}
    if disk.wwn is not None:
        if disk.bus not in {"ide", "sata", "scsi"}:
            raise unsupported("Only ide and scsi disk support wwn")
        values["wwn"] = int(disk.wwn, 16)
    rate = disk.target.rotation_rate if disk.target is not None else None
    if rate is not None:
        if disk.bus not in {"ide", "sata", "scsi"} or disk.device != "disk":
            raise unsupported(
                "rotation rate is only valid for 'disk' and 'lun' devices on ide, sata and scsi buses"
            )
        values["rotation_rate"] = rate
    for name, text in (("vendor", disk.vendor), ("product", disk.product)):
        if text is not None:
            if disk.bus != "scsi":
                raise unsupported("Only scsi disk supports vendor and product")
            values[name] = text
    removable = disk.target.removable if disk.target is not None else None
    if removable is not None and disk.bus not in {"usb", "scsi"}:
        raise unsupported("removable is only valid for usb and scsi disks")
    if removable is not None or disk.bus == "usb":
        values["removable"] = bool(removable)
    return values
