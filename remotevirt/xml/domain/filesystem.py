"""``<filesystem>``, ``<lease>`` and ``<shmem>``: what guest and host share."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, NoSource, NoTarget, XmlError
from remotevirt.xml.domain.address import BootableInfo, DeviceInfo
from remotevirt.xml.domain.disk import VirtioOptions
from remotevirt.xml.domain.storage import FORMATS
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    child,
    flag,
    hidden,
    hook,
    inline,
    leaf,
    nested_attribute,
)
from remotevirt.xml.sizes import sized
from remotevirt.xml.values import (
    Choice,
    Integer,
    Text,
    Where,
    bad_value,
    on_off,
    parse_scaled,
    unsupported,
    xml_error,
)
from remotevirt.xml.write import Tag
from remotevirt.xml.write import leaf as leaf_tag

__all__ = ["Filesystem", "Lease", "SharedMemory"]


@attrs.define
class FilesystemDriver(Model):
    TAG: ClassVar[str] = "driver"
    type: str | None = attribute("type", Choice("path handle loop nbd ploop virtiofs"))
    format: str | None = attribute(
        "format", Choice(FORMATS, refusal=unsupported("unknown driver format value '{}'"))
    )
    wrpolicy: str | None = attribute("wrpolicy", Choice("immediate"))
    queue: int | None = attribute(
        "queue",
        Integer(bits=64, zero="silent", refusal=xml_error("cannot parse queue size '{}' for virtiofs")),
    )
    virtio: VirtioOptions = inline(VirtioOptions)


@attrs.define
class Locks(Model):
    TAG: ClassVar[str] = "lock"
    posix: bool | None = attribute("posix", on_off())
    flock: bool | None = attribute("flock", on_off())


@attrs.define
class Binary(Model):
    """The program that serves a virtio file system."""

    TAG: ClassVar[str] = "binary"
    path: str | None = attribute("path")
    xattr: bool | None = attribute("xattr", on_off())
    cache: str | None = nested_attribute("cache/mode", Choice("none always"))
    sandbox: str | None = nested_attribute("sandbox/mode", Choice("namespace chroot"))
    locks: Locks | None = child(Locks)
    threads: int | None = nested_attribute(
        "thread_pool/size",
        Integer(signed=True, refusal=xml_error("cannot parse thread pool size '{}' for virtiofs")),
    )


@attrs.define
class FilesystemSource(Model):
    TAG: ClassVar[str] = "source"
    file: str | None = attribute("file")
    dev: str | None = attribute("dev")
    dir: str | None = attribute("dir")
    name: str | None = attribute("name")
    socket: str | None = attribute("socket")
    usage: int | None = attribute(
        "usage", Integer(bits=64, refusal=xml_error("cannot parse usage '{}' for RAM filesystem"))
    )
    units: str | None = attribute("units")
    pool: str | None = attribute("pool")
    volume: str | None = attribute("volume")


_KEYS = {
    "file": ("file",),
    "block": ("dev",),
    "mount": ("dir", "socket"),
    "bind": ("dir",),
    "template": ("name",),
    "ram": ("usage", "units"),
    "volume": ("pool", "volume"),
}


def _read_mode(name: str) -> Any:
    def read(source: Source, how: Reading, model: Any) -> str | None:
        text = source.get(name)
        if text is None:
            return None
        if not re.match(r"[0-7]{1,10}\Z", text):
            raise bad_value(Where("filesystem", name), text, ". Expected non-negative integer value")
        mode = int(text, 8)
        if mode > 0o777:
            raise XmlError(f"invalid {name}: '0{mode:03o}'", domain=VIR_FROM_DOMAIN)
        return f"{mode:04o}" if mode else None

    return read


@attrs.define
class Filesystem(Model):
    """A directory, image or memory that the guest mounts."""

    TAG: ClassVar[str] = "filesystem"
    type: str = attribute("type", Choice("mount block file template ram bind volume"), default="mount")
    accessmode: str | None = attribute(
        "accessmode", Choice("passthrough mapped squash"), default="passthrough"
    )
    model: str | None = attribute("model", Choice("virtio virtio-transitional virtio-non-transitional"))
    multidevs: str | None = attribute("multidevs", Choice("remap forbid warn", silent="default"))
    fmode: str | None = hook(_read_mode("fmode"), lambda value, how, model: None)
    dmode: str | None = hook(_read_mode("dmode"), lambda value, how, model: None)
    driver: FilesystemDriver | None = child(FilesystemDriver)
    binary: Binary | None = child(Binary)
    source: FilesystemSource | None = child(FilesystemSource)
    target: str | None = nested_attribute("target/dir")
    readonly: bool = flag("readonly")
    info: BootableInfo = inline(BootableInfo)
    hard_limit: int | None = sized("space_hard_limit", path="./space_hard_limit[1]", unit="bytes", scale=1)
    soft_limit: int | None = sized("space_soft_limit", path="./space_soft_limit[1]", unit="bytes", scale=1)

    def complete(self, source: Source, how: Reading) -> None:
        if self.driver is not None and self.driver.type != "virtiofs":
            self.driver.queue = None
            if self.driver.type is None:
                self.driver.format = self.driver.wrpolicy = None
        found = self.source
        if found is not None:
            kept = FilesystemSource()
            for key in _KEYS[self.type]:
                setattr(kept, key, getattr(found, key))
            if self.type == "ram" and kept.usage is not None:
                kept.usage = parse_scaled(str(kept.usage), kept.units, path="./@usage", default=1024) // 1024
                kept.units = "KiB"
            self.source = kept
            found = kept
        if self.type == "volume" and found is not None and (found.pool is None) != (found.volume is None):
            text = "'pool' and 'volume' must be specified together for 'pool' type source"
            raise XmlError(text, domain=VIR_FROM_DOMAIN)
        if found is None or all(getattr(found, key) is None for key in _KEYS[self.type]):
            if self.type == "ram" and found is not None:
                raise XmlError("missing 'usage' attribute for RAM filesystem", domain=VIR_FROM_DOMAIN)
            raise NoSource(self.target, domain=VIR_FROM_DOMAIN)
        if self.target is None and not found.socket:
            raise NoTarget(found.file or found.dev or found.dir or found.name, domain=VIR_FROM_DOMAIN)
        virtiofs = self.driver is not None and self.driver.type == "virtiofs"
        if not virtiofs:
            self.binary = None
            if self.info.boot is not None:
                raise ConfigUnsupported("boot order is only supported for virtiofs", domain=VIR_FROM_DOMAIN)
        if found.socket is not None:
            self.accessmode = None
        self.hard_limit = self.hard_limit or None
        self.soft_limit = self.soft_limit or None

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        tag.set("fmode", self.fmode).set("dmode", self.dmode)


@attrs.define
class LeaseTarget(Model):
    TAG: ClassVar[str] = "target"
    path: str | None = attribute(
        "path", required=xml_error("Missing 'path' attribute to 'target' element for lease")
    )
    offset: int | None = attribute("offset", Integer(bits=64, zero="silent"))


@attrs.define
class Lease(Model):
    """A lock that some manager holds for the guest."""

    TAG: ClassVar[str] = "lease"
    lockspace: str | None = leaf("lockspace")
    key: str | None = leaf("key")
    target: LeaseTarget | None = child(LeaseTarget)

    def complete(self, source: Source, how: Reading) -> None:
        # libvirt refuses a lease that lacks any of these too, though without saying why.
        if self.key is None:
            raise XmlError("Missing 'key' element for lease", domain=VIR_FROM_DOMAIN)
        if self.lockspace is None:
            raise XmlError("Missing 'lockspace' element for lease", domain=VIR_FROM_DOMAIN)
        if self.target is None:
            raise XmlError("Missing 'target' element for lease", domain=VIR_FROM_DOMAIN)


@attrs.define
class Msi(Model):
    TAG: ClassVar[str] = "msi"
    KEEP: ClassVar[bool] = True
    vectors: int | None = attribute("vectors", Integer(zero="silent"))
    ioeventfd: bool | None = attribute("ioeventfd", on_off())


@attrs.define
class SharedServer(Model):
    TAG: ClassVar[str] = "server"
    KEEP: ClassVar[bool] = True
    path: str | None = attribute("path")


def _write_mebi(value: int, how: Printing, model: Any) -> Tag:
    return leaf_tag("size", value >> 20).set("unit", "M")


def _read_mebi(source: Source, how: Reading, model: Any) -> int | None:
    element = source.first("size")
    if element is None or not element.text:
        return None
    return parse_scaled(element.text, element.get("unit"), path="./size[1]", default=1) or None


@attrs.define
class SharedMemory(Model):
    """Memory that several guests share."""

    TAG: ClassVar[str] = "shmem"
    name: str = attribute(
        "name", Text(empty=True), required=xml_error("shmem element must contain 'name' attribute")
    )
    role: str | None = hidden()
    model: str = nested_attribute(
        "model/type", Choice("ivshmem ivshmem-plain ivshmem-doorbell"), default="ivshmem"
    )
    size: int | None = hook(_read_mebi, _write_mebi)
    server: SharedServer | None = child(SharedServer)
    msi: Msi | None = child(Msi)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        role = source.get("role")
        if role is not None and self.model != "ivshmem":
            self.role = Choice("master peer", silent="default").read(role, Where("shmem", "role"))
        if "/" in self.name:
            raise ConfigUnsupported("shmem name cannot include '/' character", domain=VIR_FROM_DOMAIN)
        if self.msi is not None and self.server is None:
            raise XmlError("msi option is only supported with a server", domain=VIR_FROM_DOMAIN)

    def fill(self, tag: Tag, how: Printing) -> None:
        super().fill(tag, how)
        tag.set("role", self.role)
