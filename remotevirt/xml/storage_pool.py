"""The storage pool document, and when two pools would fight over one source."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, NoSupport
from remotevirt.xml.parse import Element, parse_document, text_of
from remotevirt.xml.permissions import Permissions
from remotevirt.xml.pool_source import TRAITS, Adapter, PoolSource, refused, sanitize, unsupported
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.values import Choice, Where, format_uuid, missing_attribute, parse_uuid, yes_no
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["TYPES", "PoolModel", "conflict", "format_pool", "parse_pool", "parse_pool_source", "read_pool"]

TYPES: Final = tuple(TRAITS)
"""The types of pools, in libvirt's order."""

DEVICES: Final = {"fs", "logical", "disk", "zfs"}
"""Types that share the host's devices."""

MISSING: Final = {
    "host": "missing storage pool source host name",
    "dir": "missing storage pool source path",
    "adapter": "missing storage pool source adapter",
    "device": "missing storage pool source device name",
}


@attrs.define
class PoolModel:
    """A pool's definition; sizes in bytes."""

    type: str
    name: str
    uuid: bytes
    source: PoolSource
    cow: bool | None = None
    capacity: int = 0
    allocation: int = 0
    available: int = 0
    path: str | None = None
    permissions: Permissions = attrs.field(factory=Permissions)
    refresh: str | None = None

    @classmethod
    def read(cls, element: Element) -> PoolModel:
        """Read, check and complete; raises VirError."""
        kind = element.get("type")
        if kind is None:
            raise missing_attribute("pool", "type")
        Choice(" ".join(TYPES)).read(kind, Where("pool", "type"))
        traits = TRAITS[kind]
        source = PoolSource.read(element.find("source"), kind)
        found = element.find("name")
        name = "" if found is None else text_of(found)
        if not name and "name" in traits.parts:
            name = source.name or ""
        if not name:
            raise refused("missing pool source name element")
        if "/" in name:
            raise refused(f"name {name} cannot contain '/'")
        model = cls(kind, name, _read_uuid(element), source)
        model._read_features(element)
        model._check_source()
        if "name" in traits.parts and source.name is None:
            source.name = name
        target = element.find("target")
        if traits.target == "path":
            found = element.find("target/path")
            path = "" if found is None else text_of(found)
            if not path:
                raise refused("missing storage pool target path")
            model.path = sanitize(path)
        elif traits.target != "none":
            model.path = f"{traits.target}/{source.name}"
        if target is not None and traits.target != "none":
            model.permissions = Permissions.read(element.find("target/permissions"))
        model._read_refresh(element)
        return model

    def _read_features(self, element: Element) -> None:
        found = element.find("features/cow")
        text = None if found is None else found.get("state")
        if text is not None:
            if self.type not in {"dir", "fs"}:
                raise NoSupport(
                    "cow feature may only be used for 'fs' and 'dir' pools", domain=c.VIR_FROM_STORAGE
                )
            self.cow = yes_no().read(text, Where("cow", "state"))

    def _check_source(self) -> None:
        source = self.source
        there = {
            "host": source.hosts,
            "iqn": source.iqn,
            "dir": source.dir,
            "adapter": source.adapter,
            "device": source.devices,
        }
        needs = TRAITS[self.type].needs.split()
        for part, value in there.items():
            if part in needs and not value:
                if part == "iqn":
                    raise unsupported("missing initiator IQN")
                raise refused(MISSING[part])

    def _read_refresh(self, element: Element) -> None:
        found = element.find("refresh/volume")
        text = None if found is None else found.get("allocation")
        if text is not None:
            if text not in {"default", "capacity"}:
                raise unsupported(f"unknown storage pool volume refresh allocation type {text}")
            self.refresh = text

    def element(self) -> Tag:
        """Return the document's root."""
        made = Tag("pool").set("type", self.type)
        made.add(leaf("name", self.name))
        made.add(leaf("uuid", format_uuid(self.uuid)))
        for name in ("capacity", "allocation", "available"):
            made.add(leaf(name, getattr(self, name)).set("unit", "bytes"))
        if self.cow is not None:
            features = Tag("features")
            features.add(Tag("cow").set("state", "yes" if self.cow else "no"))
            made.add(features)
        made.add(self.source.tag(self.type))
        if TRAITS[self.type].target != "none":
            target = Tag("target", hold=True)
            if self.path is not None:
                target.add(leaf("path", self.path))
            permissions = self.permissions.tag()
            if permissions:
                target.add(permissions)
            made.add(target)
        if self.refresh is not None:
            refresh = Tag("refresh")
            refresh.add(Tag("volume").set("allocation", self.refresh))
            made.add(refresh)
        return made


def _read_uuid(element: Element) -> bytes:
    found = element.find("uuid")
    text = "" if found is None else text_of(found)
    if not text:
        return uuid4().bytes
    uuid = parse_uuid(text)
    if uuid is None:
        raise refused("malformed uuid element")
    return uuid


def parse_pool(text: str, *, validate: bool = False) -> PoolModel:
    """Read a pool document.

    Args:
        text: the document.
        validate: refuse what libvirt's schema does not know.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    root = parse_document(text, root="pool", source="(storage_pool_definition)", domain=c.VIR_FROM_STORAGE)
    if validate:
        validate_document(root, SCHEMAS / "storagepool.rng")
    return read_pool(root)


def parse_pool_source(text: str, kind: str) -> PoolSource:
    """Read the source of a pool of a type, as a document of its own; raises VirError."""
    place = "(storage_source_specification)"
    root = parse_document(text, root="source", source=place, domain=c.VIR_FROM_STORAGE)
    if kind not in TRAITS:
        raise InternalError("missing backend for pool type -1", domain=c.VIR_FROM_STORAGE)
    return PoolSource.read(root, kind)


def read_pool(element: Element) -> PoolModel:
    """Read a pool that stands inside another document; raises VirError."""
    return PoolModel.read(element)


def format_pool(model: PoolModel) -> str:
    """Print a pool, with a line end after it."""
    return render(model.element())


def conflict(one: PoolModel, other: PoolModel) -> bool:
    """Return whether a new pool (``other``) would use the source of one that is there."""
    ours, theirs = one.source, other.source
    if one.type in DEVICES and other.type in DEVICES:
        return _share_device(ours, theirs)
    if one.type != other.type:
        return False
    match one.type:
        case "dir":
            return one.path == other.path
        case "netfs":
            return ours.dir == theirs.dir and _one_host(ours, theirs)
        case "gluster":
            return ours.name == theirs.name and ours.dir == theirs.dir and _one_host(ours, theirs)
        case "iscsi" | "iscsi-direct":
            return ours.iqn == theirs.iqn and _share_device(ours, theirs)
        case "scsi":
            return _same_adapter(ours.adapter, theirs.adapter)
        case "sheepdog":
            return _one_host(ours, theirs)
        case "mpath":
            return True
        case "vstorage":
            return ours.name == theirs.name
    return False


def _share_device(ours: PoolSource, theirs: PoolSource) -> bool:
    return not {device.path for device in ours.devices}.isdisjoint(device.path for device in theirs.devices)


def _one_host(ours: PoolSource, theirs: PoolSource) -> bool:
    """Return whether the first host of both is the same."""
    if not ours.hosts or not theirs.hosts:
        return False
    mine, other = ours.hosts[0], theirs.hosts[0]
    return mine.name == other.name and other.port in (0, mine.port)


def _host_number(name: str | None) -> str:
    """Return what tells an adapter's name from others: ``host1`` is ``scsi_host1``."""
    return (name or "").removeprefix("scsi_")


def _same_adapter(ours: Adapter | None, theirs: Adapter | None) -> bool:
    if ours is None or theirs is None:
        return False
    if ours.type != theirs.type:
        # a virtual adapter hangs on a real one, whose volumes it would show
        virtual, real = (ours, theirs) if ours.type == "fc_host" else (theirs, ours)
        parent = virtual.names["parent"]
        return None not in (parent, real.name) and _host_number(parent) == _host_number(real.name)
    if ours.type == "fc_host":
        return all(ours.names[name] == theirs.names[name] for name in ("wwnn", "wwpn"))
    if ours.name is not None and theirs.name is not None:
        return _host_number(ours.name) == _host_number(theirs.name)
    return (ours.name, ours.unique_id, ours.place) == (theirs.name, theirs.unique_id, theirs.place)
