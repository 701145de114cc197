"""What a disk may be: what is said of it has to suit its kind, its bus and its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NONE
from remotevirt.stubs.errors import InternalError, NoSource, XmlError
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.rules import check_place, check_virtio, unsupported
from remotevirt.xml.domain.storage import Auth, Encryption, NetworkSource, NvmeSource, StorageSource

__all__ = ["check_disk"]

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

SECRETS: Final = frozenset(["none", "volume", "ceph", "iscsi", "tls", "vtpm"])
"""The kinds of secrets there are."""

_WWN = re.compile(r"(?:0[xX])?[0-9a-fA-F]{16}\Z")


def check_disk(disk: Disk) -> None:
    """Check what is said of a disk, in libvirt's order; raises VirError."""
    if getattr(disk.source, "fdgroup", None) is not None:
        raise unsupported(f"driver does not support FD passing for disk '{disk.dev}'")
    address = getattr(disk.info.address, "type", None)
    check_place(disk.info)
    if disk.sgio == "unfiltered":
        raise unsupported("unfiltered sgio is no longer supported")
    _check_sources(disk)
    if disk.device == "lun":
        _check_lun(disk)
    else:
        _check_not_lun(disk)
    if disk.iotune is not None:
        disk.iotune.check()
    if disk.bus in DRIVE_BUSES and address not in {None, "drive"}:
        text = f"Invalid address type '{address}' for the disk '{disk.dev}' with the bus type '{disk.bus}'"
        raise unsupported(text)
    if disk.bus != "virtio":
        _check_not_virtio(disk)
    if disk.type == "vhostuser":
        _check_vhostuser(disk)
    if disk.driver is not None:
        check_virtio(disk.driver.virtio, disk.bus == "virtio")
    if isinstance(disk.source, NvmeSource) and not disk.source.namespace:
        raise unsupported("NVMe namespace can't be zero")
    _check_drive(disk)
    _check_name(disk)
    if disk.source_is_empty() and disk.device not in {"cdrom", "floppy"}:
        raise NoSource(disk.dev, domain=VIR_FROM_DOMAIN)


def _chain(disk: Disk) -> Iterator[StorageSource]:
    """The disk's source, and those of the images that it is based on."""
    if disk.source is not None:
        yield disk.source
    backing = disk.backing
    while backing is not None:
        if backing.source is not None:
            yield backing.source
        backing = backing.backing


def _check_sources(disk: Disk) -> None:
    """Check where the bytes come from, down to the last image that others are based on."""
    for source in _chain(disk):
        extra = getattr(source, "extra", None)
        if isinstance(source, NetworkSource):
            _check_auth((disk.auth if source is disk.source else None) or source.extra.auth, source.protocol)
        _check_encryption(extra and extra.encryption)
    _check_encryption(disk.encryption)


def _check_auth(auth: Auth | None, protocol: str) -> None:
    """Secrets for network storage must be of the kind that its protocol uses."""
    if auth is None or auth.secret is None:
        return
    kind = auth.secret.type
    if kind not in SECRETS:
        raise unsupported(f"unknown secret type '{kind or '<null>'}'")
    wanted = {"iscsi": "iscsi", "rbd": "ceph"}.get(protocol)
    if wanted is not None and kind != wanted:
        raise unsupported(f"invalid secret type '{kind}'")


def _check_encryption(encryption: Encryption | None) -> None:
    if encryption is not None and encryption.cipher is not None:
        raise unsupported("supplying <cipher> for domain disk definition is unnecessary")


def _check_lun(disk: Disk) -> None:
    """Check a disk that is passed through: it needs a source that can be."""
    if isinstance(disk.source, NetworkSource) and disk.source.protocol != "iscsi":
        raise unsupported(f"disk device='lun' is not supported for protocol='{disk.source.protocol}'")
    if disk.type not in {"block", "network", "volume"}:
        raise unsupported("disk device='lun' is only valid for block type disk source")
    if disk.driver is not None and disk.driver.type not in {None, "raw"}:
        raise unsupported("disk device 'lun' must use 'raw' format")


def _check_not_lun(disk: Disk) -> None:
    """Check that nothing is said that only a disk passed through has."""
    extra = getattr(disk.source, "extra", None)
    if extra is not None and extra.reservations is not None:
        raise unsupported("<reservations/> allowed only for lun devices")
    for name in ("rawio", "sgio"):
        if getattr(disk, name) is not None:
            raise unsupported(f"{name} can be used only with device='lun'")


def _check_not_virtio(disk: Disk) -> None:
    """Check that nothing is said that only virtio disks have."""
    if disk.model is not None:
        raise unsupported(f"disk model '{disk.model}' not supported for bus '{disk.bus}'")
    driver = disk.driver
    if driver is None:
        return
    if driver.queues is not None:
        raise unsupported("queues attribute in disk driver element is only supported by virtio-blk")
    for name in ("event_idx", "ioeventfd"):
        if getattr(driver, name) is not None:
            raise unsupported(f"disk {name} mode supported only for virtio bus")


def _check_vhostuser(disk: Disk) -> None:
    """Check a disk that another process serves."""
    if disk.bus != "virtio":
        raise unsupported("vhostuser disk supports only virtio bus")
    if disk.snapshot is not None and disk.snapshot != "no":
        raise unsupported("only snapshot=no is supported with vhostuser disk")
    for owner, names in ((disk.driver, NOT_VHOSTUSER_DRIVER), (disk, NOT_VHOSTUSER)):
        for name in names:
            if (getattr(owner, name, None) or None) is not None:
                raise unsupported(f"{SHOWN.get(name, name)} is not supported with vhostuser disk")


def _check_drive(disk: Disk) -> None:
    """Check the drive that the guest sees and its medium."""
    target = disk.target
    assert target is not None
    removable = disk.device in {"cdrom", "floppy"}
    if target.tray is not None and not removable:
        raise unsupported("tray is only valid for cdrom and floppy")
    for name, text, limit in (("vendor", disk.vendor, 8), ("product", disk.product, 16)):
        if text is None:
            continue
        if not all(" " <= letter <= "~" for letter in text):
            raise XmlError(f"disk {name} is not printable string", domain=VIR_FROM_DOMAIN)
        if len(text) > limit:
            raise unsupported(f"disk {name} is more than {limit} characters")
    if disk.device == "floppy" and disk.bus != "fdc":
        raise InternalError(f"Invalid bus type '{disk.bus}' for floppy disk", domain=VIR_FROM_DOMAIN)
    if disk.device != "floppy" and disk.bus == "fdc":
        raise InternalError(f"Invalid bus type '{disk.bus}' for disk", domain=VIR_FROM_DOMAIN)
    if target.removable is not None and disk.bus != "usb":
        raise XmlError("removable is only valid for usb disks", domain=VIR_FROM_DOMAIN)
    extra = getattr(disk.source, "extra", None)
    policy = extra.startup_policy if extra is not None else None
    if policy is not None and disk.type in {"network", "vhostuser"}:
        text = f"disk startupPolicy '{policy}' is not allowed for disk of '{disk.type}' type"
        raise XmlError(text, domain=VIR_FROM_DOMAIN)
    if policy == "requisite" and not removable:
        text = f"disk startupPolicy '{policy}' is allowed only for cdrom or floppy"
        raise XmlError(text, domain=VIR_FROM_DOMAIN)


def _check_name(disk: Disk) -> None:
    """Check the world-wide name and the name in the guest."""
    if disk.wwn is not None and not _WWN.match(disk.wwn):
        raise InternalError(f"Malformed wwn: {disk.wwn}", domain=VIR_FROM_NONE)
    if disk.device == "floppy" and not disk.dev.startswith("fd"):
        raise InternalError(f"Invalid floppy device name: {disk.dev}", domain=VIR_FROM_DOMAIN)
    if disk.device in {"disk", "lun"} and not disk.dev.startswith(PREFIXES):
        raise InternalError(f"Invalid harddisk device name: {disk.dev}", domain=VIR_FROM_DOMAIN)
