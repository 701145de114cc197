"""What a disk may be: its name, bus and source have to suit its kind."""

from __future__ import annotations

from typing import Final

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, NoSource
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.storage import NetworkSource

__all__ = ["check_kind"]

PREFIXES: Final = ("hd", "sd", "vd", "xvd", "ubd")
"""What the names of hard disks begin with."""

DRIVE_BUSES: Final = frozenset({"ide", "scsi", "sata", "fdc"})
"""Where a disk's address is that of a drive."""

NOT_VHOSTUSER_DRIVER: Final = (
    *("cache", "error_policy", "rerror_policy", "io", "ioeventfd", "copy_on_read", "discard", "iothread"),
    *("detect_zeroes", "metadata_cache"),
)
NOT_VHOSTUSER: Final = (
    *("backing", "iotune", "encryption", "readonly", "shareable", "transient", "serial", "wwn", "vendor"),
    *("product", "geometry", "blockio", "auth"),
)
"""What a disk of another process has no use for, in its driver and besides: that process decides."""

SHOWN: Final = {"rerror_policy": "error_policy", "backing": "backingStore"}
"""How libvirt calls some of it."""


def check_kind(disk: Disk) -> None:
    """Check what depends on the kind of a disk; raises VirError."""
    if disk.device == "lun":
        _check_lun(disk)
    elif disk.rawio is not None:
        raise ConfigUnsupported("rawio can be used only with device='lun'", domain=VIR_FROM_DOMAIN)
    elif disk.sgio is not None:
        raise ConfigUnsupported("sgio can be used only with device='lun'", domain=VIR_FROM_DOMAIN)
    if disk.sgio == "unfiltered":
        raise ConfigUnsupported("unfiltered sgio is no longer supported", domain=VIR_FROM_DOMAIN)
    address = disk.info.address
    kind = getattr(address, "type", None)
    if disk.bus in DRIVE_BUSES and kind not in {None, "drive", "unassigned"}:
        text = f"Invalid address type '{kind}' for the disk '{disk.dev}' with the bus type '{disk.bus}'"
        raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
    if disk.device == "floppy" and disk.bus != "fdc":
        text = f"Invalid bus type '{disk.bus}' for floppy disk"
        raise InternalError(text, domain=VIR_FROM_DOMAIN)
    if disk.device != "floppy" and disk.bus == "fdc":
        raise InternalError(f"Invalid bus type '{disk.bus}' for disk", domain=VIR_FROM_DOMAIN)
    if disk.type == "vhostuser":
        _check_vhostuser(disk)
    if disk.device == "floppy" and not disk.dev.startswith("fd"):
        raise InternalError(f"Invalid floppy device name: {disk.dev}", domain=VIR_FROM_DOMAIN)
    if disk.device in {"disk", "lun"} and not disk.dev.startswith(PREFIXES):
        raise InternalError(f"Invalid harddisk device name: {disk.dev}", domain=VIR_FROM_DOMAIN)
    if disk.source_is_empty() and disk.device not in {"cdrom", "floppy"}:
        raise NoSource(disk.dev, domain=VIR_FROM_DOMAIN)


def _check_lun(disk: Disk) -> None:
    """Check a disk that is passed through: it needs a source that can be."""
    if isinstance(disk.source, NetworkSource) and disk.source.protocol != "iscsi":
        text = f"disk device='lun' is not supported for protocol='{disk.source.protocol}'"
        raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
    if disk.type not in {"block", "network", "volume"}:
        text = "disk device='lun' is only valid for block type disk source"
        raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
    if disk.driver is not None and disk.driver.type not in {None, "raw"}:
        raise ConfigUnsupported("disk device 'lun' must use 'raw' format", domain=VIR_FROM_DOMAIN)


def _check_vhostuser(disk: Disk) -> None:
    """Check a disk that another process serves."""
    if disk.bus != "virtio":
        raise ConfigUnsupported("vhostuser disk supports only virtio bus", domain=VIR_FROM_DOMAIN)
    if disk.snapshot is not None and disk.snapshot != "no":
        text = "only snapshot=no is supported with vhostuser disk"
        raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
    for owner, names in ((disk.driver, NOT_VHOSTUSER_DRIVER), (disk, NOT_VHOSTUSER)):
        for name in names:
            if (getattr(owner, name, None) or None) is not None:
                text = f"{SHOWN.get(name, name)} is not supported with vhostuser disk"
                raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
