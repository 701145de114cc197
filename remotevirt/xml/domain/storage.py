"""Where a disk's bytes come from: ``<source>``, with its secrets, slices and backing chain.

What a source looks like depends on the ``type`` of the element around it, so reading goes through
:func:`read_source`, and the models here are told apart by that word.
"""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.domain.address import PciPlace
from remotevirt.xml.domain.secret import Auth, Encryption
from remotevirt.xml.domain.security import DeviceSecLabel
from remotevirt.xml.domain.storage_network import (
    PROTOCOLS,
    Cookies,
    Host,
    Identity,
    Initiator,
)
from remotevirt.xml.fields import (
    Model,
    Reading,
    Source,
    attribute,
    child,
    children,
    inline,
    nested_attribute,
    variant,
)
from remotevirt.xml.model import CheckedModel
from remotevirt.xml.parse import Element
from remotevirt.xml.values import (
    Choice,
    Integer,
    missing_attribute,
    unsupported,
    xml_error,
    yes_no,
)

__all__ = [
    "FORMATS",
    "STORAGE_TYPES",
    "Auth",
    "Encryption",
    "Host",
    "Initiator",
    "NetworkSource",
    "StorageSource",
    "read_source",
]

FORMATS = "raw dir bochs cloop dmg iso vpc vdi fat vhd ploop cow qcow qcow2 qed vmdk aio"


@attrs.define
class Slice(Model):
    """A part of an image."""

    TAG: ClassVar[str] = "slice"
    type: str = attribute("type")
    offset: int = attribute(
        "offset",
        Integer(bits=64, refusal=xml_error("malformed value '{}' of 'offset' attribute of slice")),
        required=xml_error("missing offset or size attribute of slice"),
    )
    size: int = attribute(
        "size",
        Integer(bits=64, refusal=xml_error("malformed value '{}' of 'size' attribute of slice")),
        required=xml_error("missing offset or size attribute of slice"),
    )


def _choose_slice(element: Element) -> type[Model] | None:
    return Slice if element.get("type") == "storage" else None


@attrs.define
class Slices(Model):
    """The parts that count; libvirt knows one kind."""

    TAG: ClassVar[str] = "slices"
    slices: list[Slice] = variant("slice", _choose_slice, many=True)


@attrs.define
class Reconnect(Model):
    """Whether a socket is opened again after it failed."""

    TAG: ClassVar[str] = "reconnect"
    enabled: bool | None = attribute("enabled", yes_no())
    timeout: int | None = attribute("timeout", Integer())

    def complete(self, source: Source, how: Reading) -> None:
        if not self.enabled:
            self.timeout = None
        elif self.timeout is None:
            raise missing_attribute("reconnect", "timeout")


@attrs.define
class ReservationSource(Model):
    TAG: ClassVar[str] = "source"
    type: str = attribute("type", default="unix")
    path: str | None = attribute("path")
    mode: str | None = attribute("mode")
    reconnect: Reconnect | None = child(Reconnect)


@attrs.define
class Reservations(Model):
    TAG: ClassVar[str] = "reservations"
    managed: bool = attribute("managed", yes_no(), default=False)
    source: ReservationSource | None = child(ReservationSource)


@attrs.define
class SourceExtra(Model):
    """What sources of all types may have besides their place."""

    startup_policy: str | None = attribute(
        "startupPolicy", Choice("mandatory requisite optional", silent="default")
    )
    index: int | None = attribute("index", Integer(), live=True)
    slices: Slices | None = child(Slices)
    seclabels: list[DeviceSecLabel] = children(DeviceSecLabel)
    auth: Auth | None = child(Auth)
    reservations: Reservations | None = child(Reservations)
    encryption: Encryption | None = child(Encryption)


@attrs.define
class StorageSource(CheckedModel):
    """The base of all sources."""

    TAG: ClassVar[str] = "source"

    def place(self) -> str | None:
        """The path or name of the source, None if there is none."""
        return None

    def image(self) -> str | None:
        """What errors call it: an image of a pool by its own name."""
        return self.place()

    def told(self) -> str | None:
        """What the error about a target that is not there calls it."""
        return self.image()


@attrs.define
class FileSource(StorageSource):
    file: str | None = attribute("file")
    fdgroup: str | None = attribute("fdgroup")
    extra: SourceExtra = inline(SourceExtra)

    def place(self) -> str | None:
        return self.file


@attrs.define
class BlockSource(StorageSource):
    dev: str | None = attribute("dev")
    extra: SourceExtra = inline(SourceExtra)

    def place(self) -> str | None:
        return self.dev


@attrs.define
class DirSource(StorageSource):
    dir: str | None = attribute("dir")
    extra: SourceExtra = inline(SourceExtra)

    def place(self) -> str | None:
        return self.dir


_PORTS = {
    "http": 80,
    "https": 443,
    "ftp": 21,
    "ftps": 990,
    "tftp": 69,
    "ssh": 22,
    "sheepdog": 7000,
    "nbd": 10809,
    "iscsi": 3260,
    "gluster": 24007,
    "vxhs": 9999,
}


@attrs.define
class NetworkSource(StorageSource):
    """Storage that another machine serves."""

    protocol: str = attribute(
        "protocol",
        Choice(PROTOCOLS),
        required=True,
    )
    name: str | None = attribute("name")
    query: str | None = attribute("query")
    tls: bool | None = attribute("tls", yes_no())
    tls_hostname: str | None = attribute("tlsHostname")
    hosts: list[Host] = children(Host)
    snapshot: str | None = nested_attribute("snapshot/name")
    config: str | None = nested_attribute("config/file")
    identity: Identity | None = child(Identity)
    initiator: Initiator | None = child(Initiator)
    ssl_verify: bool | None = nested_attribute("ssl/verify", yes_no())
    cookies: Cookies | None = child(Cookies)
    readahead: int | None = nested_attribute(
        "readahead/size", Integer(bits=64, refusal=xml_error("invalid readahead size or timeout"))
    )
    timeout: int | None = nested_attribute(
        "timeout/seconds", Integer(bits=64, refusal=xml_error("invalid readahead size or timeout"))
    )
    extra: SourceExtra = inline(SourceExtra)

    def check(self, name: str, source: Source, how: Reading) -> None:
        if name == "name" and self.name is None and self.protocol != "nbd":
            raise XmlError("missing name for disk source", domain=VIR_FROM_DOMAIN)
        if name != "timeout" or self.protocol not in {"gluster", "rbd"}:
            return
        if "/" not in (self.name or "").lstrip("/"):
            raise XmlError(
                f"can't split path '{self.name}' into pool name and image name", domain=VIR_FROM_DOMAIN
            )

    def complete(self, source: Source, how: Reading) -> None:
        self.extra.seclabels = []
        if self.protocol not in {"http", "https"}:
            self.query = None
        if self.protocol not in {"nbd", "vxhs"}:
            self.tls = None
        if self.protocol != "nbd":
            self.tls_hostname = None
        if self.protocol != "rbd":
            self.config = None
        if self.protocol != "nfs":
            self.identity = None
        if self.protocol != "iscsi":
            self.initiator = None
        if self.protocol not in {"https", "ftps"}:
            self.ssl_verify = None
        if self.protocol not in {"http", "https"}:
            self.cookies = None
        if self.protocol not in {"http", "https", "ftp", "ftps"}:
            self.readahead = self.timeout = None
        for host in self.hosts:
            if host.transport is None and host.port is None:
                host.port = _PORTS.get(self.protocol)
        if self.protocol == "iscsi" and self.name is not None and "/" not in self.name:
            self.name += "/0"

    def place(self) -> str | None:
        return self.name

    def image(self) -> str | None:
        if self.protocol in {"gluster", "rbd"} and self.name is not None:
            return self.name.partition("/")[2] or self.name
        return self.name


@attrs.define
class VolumeSource(StorageSource):
    pool: str | None = attribute("pool")
    volume: str | None = attribute("volume")
    mode: str | None = attribute(
        "mode",
        Choice(
            "host direct",
            silent="default",
            refusal=unsupported("unknown source mode '{}' for volume type disk"),
        ),
    )
    extra: SourceExtra = inline(SourceExtra)
    found: FileSource | BlockSource | None = attrs.field(default=None)
    """Where the volume is, for a driver that has looked; not printed."""

    def complete(self, source: Source, how: Reading) -> None:
        if (self.pool is None) != (self.volume is None):
            raise XmlError(
                "'pool' and 'volume' must be specified together for 'pool' type source",
                domain=VIR_FROM_DOMAIN,
            )

    def place(self) -> str | None:
        return self.volume if self.found is None else self.found.place()

    def told(self) -> str | None:
        return f"pool = '{self.pool}', volume = '{self.volume}'"


@attrs.define
class NvmePlace(PciPlace):
    TAG: ClassVar[str] = "address"


@attrs.define
class NvmeSource(StorageSource):
    type: str = attribute(
        "type",
        Choice("pci", refusal=xml_error("unsupported source type '{}'")),
        required=xml_error("missing 'type' attribute to disk source"),
    )
    managed: bool | None = attribute("managed", yes_no())
    namespace: int = attribute(
        "namespace",
        Integer(bits=64, refusal=xml_error("malformed namespace '{}'")),
        required=xml_error("missing 'namespace' attribute to disk source"),
    )
    address: NvmePlace | None = child(NvmePlace)
    extra: SourceExtra = inline(SourceExtra)

    def complete(self, source: Source, how: Reading) -> None:
        if self.address is None:
            raise XmlError("NVMe disk source is missing address", domain=VIR_FROM_DOMAIN)
        if self.managed is None:
            self.managed = False

    def place(self) -> str | None:
        return "nvme"

    def told(self) -> str | None:
        return None


@attrs.define
class VhostUserSource(StorageSource):
    type: str = attribute("type", required=xml_error("missing 'type' attribute for vhostuser disk source"))
    path: str | None = attribute("path")
    reconnect: Reconnect | None = child(Reconnect)
    extra: SourceExtra = inline(SourceExtra)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type != "unix":
            raise XmlError("invalid 'type' attribute for vhostuser disk source", domain=VIR_FROM_DOMAIN)
        if self.path is None:
            raise XmlError("missing 'path' attribute for vhostuser disk source", domain=VIR_FROM_DOMAIN)

    def place(self) -> str | None:
        return self.path

    def image(self) -> str | None:
        return None


_SOURCES: dict[str, type[StorageSource]] = {
    "file": FileSource,
    "block": BlockSource,
    "dir": DirSource,
    "network": NetworkSource,
    "volume": VolumeSource,
    "nvme": NvmeSource,
    "vhostuser": VhostUserSource,
}
STORAGE_TYPES = frozenset(_SOURCES)


def read_source(kind: str, source: Source, how: Reading) -> StorageSource | None:
    """The ``<source>`` inside an element of a storage type, or None."""
    element = source.first("source")
    return _SOURCES[kind].read(element, how) if element is not None else None
