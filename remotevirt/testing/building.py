"""From a description to a world.

What a description leaves open is made from names and not by chance (UUIDs, MAC addresses), so that a world
is the same each time that it is built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from lxml import etree

from remotevirt.drivers.test.default_world import NODE
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.drivers.test.node import Node, default_node
from remotevirt.drivers.test.node_xml import load_world
from remotevirt.drivers.test.world import World
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.testing.description import DomainSpec, HostSpec, NetworkSpec, PoolSpec, WorldSpec
from remotevirt.testing.values import WorldError
from remotevirt.xml.parse import parse_document

__all__ = ["build"]

STATES: Final = {"running": c.VIR_DOMAIN_RUNNING, "paused": c.VIR_DOMAIN_PAUSED}

DISK_KEYS: Final = {"source", "target", "bus"}
INTERFACE_KEYS: Final = {"network", "mac", "target"}


def build(spec: WorldSpec, now: Callable[[], int]) -> World:
    """Return a new world.

    Args:
        spec: what is in it.
        now: its time, in nanoseconds since 1970.

    Raises:
        WorldError: something in it is wrong, in libvirt's words.
    """
    try:
        world = _base(spec)
        world.now = now
        for network in spec.network:
            _add_network(world, network)
        for pool in spec.pool:
            _add_pool(world, pool)
        for domain in spec.domain:
            _add_domains(world, domain)
    except VirError as error:
        raise WorldError(" ".join(error.message.split())) from error
    return world


def _base(spec: WorldSpec) -> World:
    if spec.node is not None:
        return load_world(spec.node, "(world)", Node())
    text = NODE if spec.base == "default" else "<node/>"
    return load_world(text, "(world)", default_node() if spec.host is None else _host(spec.host))


def _host(host: HostSpec) -> Node:
    cpus = host.nodes * host.sockets * host.cores * host.threads
    return Node(
        model=host.model,
        memory=host.memory * 1024,
        cpus=cpus,
        mhz=host.mhz,
        nodes=host.nodes,
        sockets=host.sockets,
        cores=host.cores,
        threads=host.threads,
    )


def _uuid(kind: str, name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"remotevirt:{kind}:{name}"))


def _mac(name: str, number: int) -> str:
    digest = hashlib.sha256(f"{name}/{number}".encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])


def _put(parent: Any, tag: str, text: object = None, /, **attributes: object) -> Any:
    element = etree.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})
    if text is not None:
        element.text = str(text)
    return element


def _only(table: Mapping[str, str], keys: set[str], what: str) -> Mapping[str, str]:
    for key in table:
        if key not in keys:
            raise WorldError(f"{what}: there is no {key!r:.80}; known: {', '.join(sorted(keys))}")
    return table


def _document(xml: str, root: str, name: str, uuid: str) -> Any:
    """Return a document that was given whole, with another name and UUID."""
    element = parse_document(xml, root=root, source=f"({root} {name})", domain=c.VIR_FROM_TEST)
    for tag, text in (("uuid", uuid), ("name", name)):
        found = element.find(tag)
        if found is None:
            found = etree.Element(tag)
            element.insert(0, found)
        found.text = text
    return element


def _add_domains(world: World, spec: DomainSpec) -> None:
    for name in spec.names():
        uuid = spec.uuid or _uuid("domain", name)
        element = _domain(spec, name, uuid) if spec.xml is None else _document(spec.xml, "domain", name, uuid)
        record, _ = world.assign(
            TestDefinition.parse(etree.tostring(element, encoding="unicode")), live=False
        )
        world.set_persistent(record, spec.persistent)
        world.set_autostart(record, spec.autostart)
        if spec.state in STATES and not record.active:
            world.start(record, 0, STATES[spec.state])


def _domain(spec: DomainSpec, name: str, uuid: str) -> Any:
    root = etree.Element("domain", {"type": "test"})
    _put(root, "name", name)
    _put(root, "uuid", uuid)
    _put(root, "memory", spec.memory, unit="MiB")
    _put(root, "vcpu", spec.vcpus)
    _put(_put(root, "os"), "type", "hvm")
    for tag in ("on_poweroff", "on_reboot", "on_crash"):
        _put(root, tag, getattr(spec, tag))
    devices = _put(root, "devices")
    for number, disk in enumerate(spec.disks):
        _only(disk, DISK_KEYS, "disks")
        element = _put(devices, "disk", type="file", device="disk")
        if "source" in disk:
            _put(element, "source", file=disk["source"].replace("%s", name))
        target = disk.get("target", f"vd{chr(ord('a') + number % 26)}")
        _put(element, "target", dev=target, bus=disk.get("bus", "virtio"))
    for number, interface in enumerate(spec.interfaces):
        _only(interface, INTERFACE_KEYS, "interfaces")
        element = _put(devices, "interface", type="network")
        _put(element, "mac", address=interface.get("mac", _mac(name, number)))
        _put(element, "source", network=interface.get("network", "default"))
        if "target" in interface:
            _put(element, "target", dev=interface["target"])
    _put(devices, "memballoon", model="virtio")
    return root


def _add_network(world: World, spec: NetworkSpec) -> None:
    uuid = spec.uuid or _uuid("network", spec.name)
    if spec.xml is not None:
        element = _document(spec.xml, "network", spec.name, uuid)
    else:
        element = etree.Element("network")
        _put(element, "name", spec.name)
        _put(element, "uuid", uuid)
        if spec.forward is not None:
            _put(element, "forward", mode=spec.forward)
        if spec.bridge is not None:
            _put(element, "bridge", name=spec.bridge, stp="on", delay="0")
        if spec.subnet is not None:
            net = spec.subnet
            if net.num_addresses < 4:
                raise WorldError(f"subnet: {net} has no room for a host and its guests")
            attributes: dict[str, object] = {"address": net[1], "prefix": net.prefixlen}
            if net.version == 6:
                attributes["family"] = "ipv6"
            dhcp = _put(_put(element, "ip", **attributes), "dhcp")
            last = net[min(net.num_addresses - 2, 65534)]
            _put(dhcp, "range", start=net[2], end=last)
    world.networks.load(element)
    record = world.networks.by_name[spec.name]
    record.active, record.autostart = spec.active, spec.autostart
    world.networks.changed()


def _add_pool(world: World, spec: PoolSpec) -> None:
    uuid = spec.uuid or _uuid("pool", spec.name)
    if spec.xml is not None:
        element = _document(spec.xml, "pool", spec.name, uuid)
    else:
        element = etree.Element("pool", {"type": "dir"})
        _put(element, "name", spec.name)
        _put(element, "uuid", uuid)
        _put(_put(element, "target"), "path", spec.path)
    for volume in spec.volumes:
        found = _put(element, "volume")
        _put(found, "name", volume.name)
        _put(found, "capacity", volume.capacity)
        _put(found, "allocation", volume.allocation)
    world.pools.load(element)
    record = world.pools.by_name[spec.name]
    record.active, record.autostart = spec.active, spec.autostart
    if spec.exhausted:
        record.use(record.model.available)
    world.pools.changed()
