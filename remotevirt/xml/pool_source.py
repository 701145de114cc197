"""``<source>`` of a storage pool: where its volumes come from.

Which of the elements a pool has depends on its type; :data:`TRAITS` says so. What a type does not have is
dropped, and where a type has formats one of them is the default.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain.address import PciPlace
from remotevirt.xml.fields import Printing, Reading
from remotevirt.xml.parse import Element, text_of
from remotevirt.xml.values import Choice, Integer, Where, format_uuid, parse_integer, parse_uuid, yes_no
from remotevirt.xml.write import Tag, leaf

__all__ = ["TRAITS", "Adapter", "PoolSource", "Traits", "refused", "sanitize", "unsupported"]

_WWN = re.compile(r"[0-9a-fA-F]{16}")


def refused(text: str) -> VirError:
    """Return the error for a document that is wrong."""
    return XmlError(text, domain=c.VIR_FROM_STORAGE)


def unsupported(text: str) -> VirError:
    """Return the error for a document that asks for what cannot be had."""
    return ConfigUnsupported(text, domain=c.VIR_FROM_STORAGE)


def sanitize(path: str) -> str:
    """Return a path without doubled slashes and without one at its end; two at its beginning stay two."""
    start = "//" if path.startswith("//") and not path.startswith("///") else ""
    clean = re.sub("/+", "/", path[len(start) :])
    return start + (clean.rstrip("/") or clean[:1] if not start else clean.rstrip("/"))


def _parts(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _formats(words: str) -> tuple[str, ...]:
    return tuple(words.split())


@attrs.frozen
class Traits:
    """What pools of a type have.

    Attributes:
        parts: elements of the source: host, device, dir, adapter, name, iqn.
        needs: those that must be there.
        formats: the words for the format, the default first.
        target: how the target's path comes about: ``path`` (as given), ``none``, or a prefix of the
            source's name.
    """

    parts: frozenset[str] = attrs.field(converter=_parts)
    needs: str = ""
    formats: tuple[str, ...] = attrs.field(default="", converter=_formats)
    target: str = "path"


TRAITS: Final[dict[str, Traits]] = {
    "dir": Traits(""),
    "fs": Traits("device", "device", "auto ext2 ext3 ext4 ufs iso9660 udf gfs gfs2 vfat hfs+ xfs ocfs2 vmfs"),
    "netfs": Traits("host dir", "host dir", "auto nfs glusterfs cifs"),
    "logical": Traits("device name", "", "lvm2 unknown", "/dev"),
    "disk": Traits("device", "device", "unknown dos dvh gpt mac bsd pc98 sun lvm2"),
    "iscsi": Traits("host device iqn", "host"),
    "scsi": Traits("adapter", "adapter"),
    "mpath": Traits(""),
    "rbd": Traits("host name", "host", target="none"),
    "sheepdog": Traits("host name", "host", target="none"),
    "gluster": Traits("host dir name", "host dir", target="none"),
    "zfs": Traits("device name", target="/dev/zvol"),
    "vstorage": Traits("name"),
    "iscsi-direct": Traits("host device iqn", "host iqn", target="none"),
}
"""By the type of the pool."""

AUTH_TYPES: Final = {"none", "chap", "ceph"}


@attrs.frozen
class PoolHost:
    """A server; ``port`` 0 is the usual one."""

    name: str
    port: int = 0

    @classmethod
    def read(cls, element: Element) -> PoolHost:
        """Read; raises VirError."""
        name = element.get("name")
        if name is None:
            raise refused("missing storage pool host name")
        text = element.get("port")
        port = 0 if text is None else Integer(signed=True).read(text, Where("host", "port")) or 0
        return cls(name, port)


@attrs.frozen
class PoolDevice:
    """A device of the host, or of a server."""

    path: str
    part_separator: bool | None = None

    @classmethod
    def read(cls, element: Element) -> PoolDevice:
        """Read; raises VirError."""
        path = element.get("path")
        if path is None:
            raise refused("missing storage pool source device path")
        text = element.get("part_separator")
        separator = None if text is None else yes_no().read(text, Where("device", "part_separator"))
        return cls(path, separator)


@attrs.frozen
class PoolAuth:
    """Who asks a server."""

    type: str
    username: str
    secret_type: str | None
    secret_uuid: bytes | None
    secret_usage: str | None

    @classmethod
    def read(cls, element: Element) -> PoolAuth:
        """Read; raises VirError."""
        username = element.get("username")
        if not username:
            raise refused("missing username for auth")
        kind = element.get("type")
        if kind == "":
            raise unsupported("storage pool missing auth type")
        if kind is not None and kind not in AUTH_TYPES:
            raise unsupported(f"unknown auth type '{kind}'")
        secret = element.find("secret")
        if secret is None:
            raise refused("Missing <secret> element in auth")
        text, usage = secret.get("uuid"), secret.get("usage")
        if text is None and usage is None:
            raise XmlError("missing secret uuid or usage attribute", domain=0)
        if text is not None and usage is not None:
            raise XmlError("either secret uuid or usage expected", domain=0)
        uuid = None if text is None else parse_uuid(text)
        if text is not None and uuid is None:
            raise XmlError(f"invalid secret uuid '{text}'", domain=0)
        if kind in (None, "none"):
            raise unsupported("storage pool missing auth type")
        return cls(str(kind), username, secret.get("type"), uuid, usage)

    def tag(self) -> Tag:
        """Return the element."""
        secret = Tag("secret").set("type", self.secret_type)
        if self.secret_uuid is not None:
            secret.set("uuid", format_uuid(self.secret_uuid))
        secret.set("usage", self.secret_usage)
        made = Tag("auth").set("type", self.type).set("username", self.username)
        made.add(secret)
        return made


FC_NAMES: Final = ("wwnn", "wwpn", "parent", "parent_wwnn", "parent_wwpn", "parent_fabric_wwn")


@attrs.define
class Adapter:
    """A host bus adapter: one of the host's (``scsi_host``), or a virtual one (``fc_host``)."""

    type: str
    name: str | None = None
    unique_id: int | None = None
    place: PciPlace | None = None
    managed: bool | None = None
    names: dict[str, str | None] = attrs.field(factory=dict)

    @classmethod
    def read(cls, element: Element) -> Adapter | None:
        """Read, None for one that says nothing; raises VirError."""
        kind, name = element.get("type"), element.get("name")
        if kind is not None:
            Choice("scsi_host fc_host").read(kind, Where("adapter", "type"))
        elif any(element.get(word) is not None for word in ("wwnn", "wwpn", "parent")):
            text = "Use of 'wwnn', 'wwpn', and 'parent' attributes requires use of the adapter 'type'"
            raise refused(text)
        elif element.find("parentaddr") is not None:
            raise refused("Use of 'parentaddr' element requires use of the adapter 'type'")
        elif name is None:
            return None
        else:
            kind = "scsi_host"
        if kind == "fc_host":
            return cls._read_virtual(element)
        adapter = cls(kind, name)
        parent = element.find("parentaddr")
        if parent is not None:
            number = parse_integer(parent.get("unique_id", ""), base=0)
            if number is None:
                raise refused("Missing or invalid scsi adapter 'unique_id' value")
            adapter.unique_id = number
            place = parent.find("address")
            if place is None:
                raise refused("Missing scsi_host PCI address element")
            adapter.place = PciPlace.read(place, Reading())
        if name is None and adapter.place is None:
            raise refused("Either 'name' or 'parent' must be specified for the 'scsi_host' adapter")
        if name is not None and adapter.place is not None:
            raise refused("Both 'name' and 'parent' cannot be specified for the 'scsi_host' adapter")
        return adapter

    @classmethod
    def _read_virtual(cls, element: Element) -> Adapter:
        text = element.get("managed")
        managed = None if text is None else yes_no().read(text, Where("adapter", "managed"))
        names = {name: element.get(name) for name in FC_NAMES}
        if names["wwnn"] is None or names["wwpn"] is None:
            raise refused("'wwnn' and 'wwpn' must be specified for adapter type 'fchost'")
        for one, other in (("parent_wwnn", "parent_wwpn"), ("parent_wwpn", "parent_wwnn")):
            if names[one] is not None and names[other] is None:
                raise refused(f"when providing {one}='{names[one]}', the {other} must also be provided")
        for name, value in names.items():
            if name != "parent" and value is not None and not _WWN.fullmatch(value):
                raise InternalError(f"Malformed wwn: {value}", domain=0)
        return cls("fc_host", None, None, None, managed, names)

    def tag(self) -> Tag:
        """Return the element."""
        made = Tag("adapter").set("type", self.type).set("name", self.name)
        if self.type == "fc_host":
            for name in FC_NAMES[2:]:
                made.set(name, self.names[name])
            if self.managed is not None:
                made.set("managed", "yes" if self.managed else "no")
            made.set("wwnn", self.names["wwnn"]).set("wwpn", self.names["wwpn"])
        elif self.place is not None:
            parent = Tag("parentaddr").set("unique_id", self.unique_id)
            address = Tag("address")
            self.place.fill(address, Printing())
            parent.add(address)
            made.add(parent)
        return made


@attrs.define
class PoolSource:
    """Where the volumes of a pool come from."""

    name: str | None = None
    format: str | None = None
    hosts: list[PoolHost] = attrs.field(factory=list)
    devices: list[PoolDevice] = attrs.field(factory=list)
    dir: str | None = None
    adapter: Adapter | None = None
    iqn: str | None = None
    auth: PoolAuth | None = None
    protocol: str | None = None
    vendor: str | None = None
    product: str | None = None

    @classmethod
    def read(cls, element: Element | None, kind: str) -> PoolSource:
        """Read the source of a pool of a type; raises VirError."""
        traits = TRAITS[kind]
        source = cls(format=traits.formats[0] if traits.formats else None)
        if element is None:
            source.dir = "/" if kind == "gluster" else None
            return source
        name = element.find("name")
        source.name = None if name is None else text_of(name) or None
        if kind == "rbd" and source.name is None:
            raise refused("element 'name' is mandatory for RBD pool")
        source.format = _read_format(element, traits) or source.format
        source.hosts = [PoolHost.read(host) for host in element.findall("host")]
        iqn = element.find("initiator/iqn")
        source.iqn = None if iqn is None else iqn.get("name") or None
        source.devices = [PoolDevice.read(device) for device in element.findall("device")]
        found = element.find("dir")
        path = None if found is None else found.get("path")
        source.dir = sanitize(path) if path else "/" if kind == "gluster" else None
        found = element.find("adapter")
        source.adapter = None if found is None else Adapter.read(found)
        found = element.find("auth")
        source.auth = None if found is None else PoolAuth.read(found)
        found = element.find("protocol")
        source.protocol = None if found is None else found.get("ver") or None
        if source.protocol is not None and source.format is not None:
            _check_protocol(traits.formats.index(source.format))
        for word in ("vendor", "product"):
            found = element.find(word)
            setattr(source, word, None if found is None else found.get("name") or None)
        return source

    def tag(self, kind: str) -> Tag:
        """Return the element in a pool of a type."""
        made, parts = Tag("source", hold=True), TRAITS[kind].parts
        if "host" in parts:
            for host in self.hosts:
                made.add(Tag("host").set("name", host.name).set("port", host.port or None))
        if "device" in parts:
            for device in self.devices:
                tag = Tag("device").set("path", device.path)
                if device.part_separator is not None:
                    tag.set("part_separator", "yes" if device.part_separator else "no")
                made.add(tag)
        if "dir" in parts and self.dir is not None:
            made.add(Tag("dir").set("path", self.dir))
        if "adapter" in parts and self.adapter:
            made.add(self.adapter.tag())
        if "name" in parts and self.name is not None:
            made.add(leaf("name", self.name))
        if "iqn" in parts and self.iqn is not None:
            initiator = Tag("initiator")
            initiator.add(Tag("iqn").set("name", self.iqn))
            made.add(initiator)
        if self.format is not None:
            made.add(Tag("format").set("type", self.format))
        if self.auth:
            made.add(self.auth.tag())
        for word, name, value in (
            ("protocol", "ver", self.protocol),
            ("vendor", "name", self.vendor),
            ("product", "name", self.product),
        ):
            if value is not None:
                made.add(Tag(word).set(name, value))
        return made


def _check_protocol(number: int) -> None:
    """Refuse a version of NFS with a format; libvirt takes the number of any format for one of netfs's."""
    formats = TRAITS["netfs"].formats
    if number > formats.index("nfs"):
        shown = formats[number] if number < len(formats) else "(null)"
        raise unsupported(f"storage pool protocol ver unsupported for pool type '{shown}'")


def _read_format(element: Element, traits: Traits) -> str | None:
    found = element.find("format")
    text = None if found is None else found.get("type")
    if not text or not traits.formats:
        return None
    if text not in traits.formats:
        raise unsupported(f"unknown pool format type {text}")
    return str(text)
