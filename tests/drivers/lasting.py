"""Everything that can be seen of a world that lasts, and calls that change all of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from remotevirt.drivers.base import DriverConnection
from remotevirt.drivers.test import TestDriver
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.checkpoint import format_checkpoint
from remotevirt.xml.interface import format_interface
from remotevirt.xml.network import format_network
from remotevirt.xml.node_device import format_device
from remotevirt.xml.snapshot import format_snapshot
from remotevirt.xml.storage_pool import format_pool
from remotevirt.xml.storage_volume import format_volume
from tests.drivers.driving import connect, domain_xml

CONFIG = c.VIR_DOMAIN_AFFECT_CONFIG
LIVE = c.VIR_DOMAIN_AFFECT_LIVE

UUID = "11111111-2222-3333-4444-5555555555%02d"
DISK = "<devices><disk type='file' device='disk'><source file='/x'/><target dev='vda'/></disk></devices>"
SECRET = "<devices><graphics type='vnc' passwd='secret'/></devices>"

NETWORK = "<network><name>{}</name><bridge name='virbr{}'/></network>"
POOL = "<pool type='dir'><name>{0}</name><target><path>/{0}</path></target></pool>"
FC_POOL = (
    "<pool type='scsi'><name>fc</name><source><adapter type='fc_host' parent='scsi_host1' "
    "wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/></source><target><path>/dev</path></target></pool>"
)
VOLUME = "<volume><name>{}</name><capacity unit='M'>5</capacity></volume>"
INTERFACE = (
    "<interface type='ethernet' name='{}'><start mode='{}'/><mac address='aa:bb:cc:dd:ee:0{}'/></interface>"
)

Call = tuple[str, Callable[[DriverConnection], Any]]


def dom(connection: DriverConnection, name: str) -> NonnullDomain:
    """Return the domain of a name."""
    return connection.hypervisor.domain_lookup_by_name(name)  # type: ignore[return-value]


def _domain(name: str, method: str, *args: Any) -> Call:
    """A call on a domain."""
    words = f"{name} {method}{args}"
    return words, lambda connection: getattr(connection.hypervisor, method)(dom(connection, name), *args)


def _define(name: str, number: int, extra: str = "") -> Call:
    xml = domain_xml(name, extra, UUID % number)
    return f"define {name} {extra}", lambda connection: connection.hypervisor.domain_define_xml(xml)


def _plain(part: str, method: str, *args: Any) -> Call:
    """A call without a reference."""
    return f"{part} {method}{args}", lambda connection: getattr(getattr(connection, part), method)(*args)


def _network(name: str, method: str, *args: Any) -> Call:
    return f"network {name} {method}{args}", lambda connection: getattr(connection.network, method)(
        connection.network.network_lookup_by_name(name), *args
    )


def _pool(name: str, method: str, *args: Any) -> Call:
    return f"pool {name} {method}{args}", lambda connection: getattr(connection.storage, method)(
        connection.storage.storage_pool_lookup_by_name(name), *args
    )


def _volume(pool: str, name: str, method: str, *args: Any) -> Call:
    def call(connection: DriverConnection) -> Any:
        storage: Any = connection.storage
        found = storage.storage_vol_lookup_by_name(storage.storage_pool_lookup_by_name(pool), name)
        return getattr(storage, method)(found, *args)

    return f"volume {pool}/{name} {method}{args}", call


def _interface(name: str, method: str, *args: Any) -> Call:
    return f"interface {name} {method}{args}", lambda connection: getattr(connection.interface, method)(
        connection.interface.interface_lookup_by_name(name), *args
    )


def _snapshot(name: str, snapshot: str, method: str, *args: Any) -> Call:
    def call(connection: DriverConnection) -> Any:
        hypervisor: Any = connection.hypervisor
        found = hypervisor.domain_snapshot_lookup_by_name(dom(connection, name), snapshot, 0)
        return getattr(hypervisor, method)(found, *args)

    return f"{name}/{snapshot} {method}{args}", call


def _checkpoint(name: str, checkpoint: str, method: str, *args: Any) -> Call:
    def call(connection: DriverConnection) -> Any:
        hypervisor: Any = connection.hypervisor
        found = hypervisor.domain_checkpoint_lookup_by_name(dom(connection, name), checkpoint, 0)
        return getattr(hypervisor, method)(found, *args)

    return f"{name}/{checkpoint} {method}{args}", call


def _take(name: str, snapshot: str) -> Call:
    text = f"<domainsnapshot><name>{snapshot}</name><description>a</description></domainsnapshot>"
    return _domain(name, "domain_snapshot_create_xml", text, 0)


CALLS: list[Call] = [
    _define("a", 1, DISK),
    _define("b", 2, SECRET),
    _define("c", 3),
    _domain("a", "domain_set_autostart", 1),
    _domain("a", "domain_create"),
    _domain("a", "domain_suspend"),
    _domain("a", "domain_resume"),
    _define("a", 1, "<title>newer</title>" + DISK),
    _domain("a", "domain_set_metadata", 0, "both", None, None, LIVE | CONFIG),
    _domain("a", "domain_set_metadata", 2, "<y>1</y>", "x", "u", CONFIG),
    _domain("a", "domain_set_memory_flags", 4096, CONFIG),
    _domain("a", "domain_set_vcpus_flags", 1, LIVE | CONFIG),
    _domain("a", "domain_set_lifecycle_action", 0, 1, CONFIG),
    _domain("a", "domain_pin_vcpu_flags", 0, b"\x03", 0),
    _domain("a", "domain_add_iothread", 4, CONFIG),
    _domain("b", "domain_set_max_memory", 99999),
    _domain("b", "domain_create"),
    _domain("b", "domain_managed_save", 0),
    _domain("b", "domain_create"),
    _domain("b", "domain_managed_save", 0),
    _domain("b", "domain_managed_save_remove", 0),
    _domain("b", "domain_create"),
    _domain("b", "domain_managed_save", 0),
    _domain("c", "domain_rename", "d", 0),
    _take("d", "s1"),
    _take("d", "s2"),
    _take("d", "s3"),
    _snapshot("d", "s1", "domain_revert_to_snapshot", 0),
    _take("d", "t2"),
    _snapshot("d", "s2", "domain_snapshot_delete", 0),
    _domain("d", "domain_create"),
    _take("d", "running"),
    _domain("d", "domain_set_metadata", 0, "after", None, None, CONFIG),
    _snapshot("d", "s1", "domain_revert_to_snapshot", 0),
    _snapshot("d", "t2", "domain_snapshot_delete", c.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN),
    _domain("a", "domain_checkpoint_create_xml", "<domaincheckpoint><name>c1</name></domaincheckpoint>", 0),
    _domain("a", "domain_checkpoint_create_xml", "<domaincheckpoint><name>c2</name></domaincheckpoint>", 0),
    _checkpoint("a", "c2", "domain_checkpoint_delete", 0),
    _plain("hypervisor", "domain_create_xml", domain_xml("t", "", UUID % 9), 0),
    _take("t", "ts"),
    _define("t", 9, "<title>now it lasts</title>"),
    _domain("t", "domain_undefine_flags", c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA),
    _domain("t", "domain_destroy"),
    _plain("hypervisor", "domain_create_xml", domain_xml("d", "<title>once</title>", UUID % 3), 0),
    _domain("d", "domain_destroy"),
    _domain("d", "domain_undefine_flags", c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA),
    _domain("test", "domain_shutdown"),
    _plain("network", "network_define_xml", NETWORK.format("n1", 1)),
    _network("n1", "network_set_autostart", 1),
    _network("n1", "network_create"),
    _network("n1", "network_update", 3, 9, -1, "<portgroup name='p'/>", 2),
    _plain("network", "network_define_xml", NETWORK.format("n2", 2)),
    _network("n2", "network_undefine"),
    _plain("network", "network_create_xml", NETWORK.format("n3", 3)),
    _network("n3", "network_destroy"),
    _network("default", "network_destroy"),
    _plain("storage", "storage_pool_define_xml", POOL.format("p1"), 0),
    _pool("p1", "storage_pool_set_autostart", 1),
    _pool("p1", "storage_pool_create", 0),
    _pool("p1", "storage_vol_create_xml", VOLUME.format("v1"), 0),
    _pool("p1", "storage_vol_create_xml", VOLUME.format("v2"), 0),
    _volume("p1", "v1", "storage_vol_delete", 0),
    _pool("default-pool", "storage_vol_create_xml", VOLUME.format("w"), 0),
    _plain("storage", "storage_pool_create_xml", POOL.format("p2"), 0),
    _pool("p2", "storage_vol_create_xml", VOLUME.format("x"), 0),
    _pool("p2", "storage_pool_destroy"),
    _plain("storage", "storage_pool_define_xml", FC_POOL, 0),
    _pool("fc", "storage_pool_undefine"),
    _plain("storage", "storage_pool_create_xml", FC_POOL, 0),
    _pool("fc", "storage_pool_destroy"),
    _plain("interface", "interface_define_xml", INTERFACE.format("e2", "onboot", 2), 0),
    _plain("interface", "interface_change_begin", 0),
    _plain("interface", "interface_define_xml", INTERFACE.format("e3", "none", 3), 0),
    _interface("eth1", "interface_destroy", 0),
    _interface("e2", "interface_undefine"),
    _plain("interface", "interface_change_rollback", 0),
    _interface("e2", "interface_create", 0),
    _plain("nodedev", "node_device_destroy", "scsi_host11"),
]
"""Calls, in an order in which none is refused."""


def open_state(state: str) -> tuple[TestDriver, DriverConnection]:
    """Open the default world of a state folder."""
    driver = TestDriver(state=state)
    return driver, connect(driver)


def _moments(record: Any) -> list[Any]:
    """What there is to see of a domain's snapshots and checkpoints."""
    return [
        (
            table.current,
            [(one.name, one.parent, one.size, one.guest_size, _description(one)) for one in table],
            {parent: list(table.children(parent)) for parent in (None, *table.by_name)},
        )
        for table in (record.snapshots, record.checkpoints)
    ]


def _description(moment: Any) -> str:
    """The document of a snapshot or checkpoint."""
    if moment.KIND == "snapshot":
        return format_snapshot(moment, secure=True)
    return format_checkpoint(moment, guest=True, secure=True)


def what_lasts(connection: Any) -> dict[str, Any]:
    """Everything that has to be there after the daemon has been started anew."""
    world = connection.hypervisor.world
    found: dict[str, Any] = {}
    for record in world.by_uuid.values():
        if record.persistent:
            definition = record.persistent_definition
            numbers = (definition.size, definition.max_memory, definition.memory, definition.vcpus)
            flags = (record.autostart, record.managed_save)
            document = definition.document()
            found[f"domain {record.name}"] = (record.uuid, document, numbers, flags, _moments(record))
    for network in world.networks:
        if network.persistent:
            model = network.pending or network.live
            found[f"network {network.name}"] = (
                network.uuid,
                format_network(model),
                network.autostart,
                network.size,
            )
    for pool in world.pools:
        if pool.persistent:
            volumes = [(format_volume(one.model), one.ref, one.size) for one in pool.volumes]
            document = re.sub("<(allocation|available).*\n", "", format_pool(pool.pending or pool.model))
            sizes = (pool.model.allocation, pool.size)
            found[f"pool {pool.name}"] = (pool.uuid, document, pool.autostart, sizes, volumes)
    for interface in world.interfaces:
        found[f"interface {interface.name}"] = (
            format_interface(interface.model),
            interface.size,
            interface.ref,
        )
    for device in world.devices:
        if device.lasts:
            found[f"device {device.name}"] = (format_device(device.model), device.size)
    return found


def everything(connection: Any) -> dict[str, Any]:
    """Everything that can be seen, running state and orders included."""
    world = connection.hypervisor.world
    found: dict[str, Any] = {
        "domains": list(world.by_uuid),
        "names": sorted(world.by_name),
        "ids": list(world.by_id),
        "numbers": (world.next_id, world.text),
        "list": connection.hypervisor.connect_list_all_domains(1, 0),
        "running": connection.hypervisor.connect_list_all_domains(1, c.VIR_CONNECT_LIST_DOMAINS_ACTIVE),
        "transaction": world.interfaces.before,
    }
    for record in world.by_uuid.values():
        config = None if record.config is None else record.config.document()
        found[f"domain {record.name}"] = (
            (record.id, record.state, record.reason, record.persistent, record.autostart),
            (list(record.polling), set(record.frozen)),
            (record.managed_save, record.ref, record.facts, record.max_memory, record.memory, record.vcpus),
            (record.live.document(), config, record.live.format(0, record.id)),
            _moments(record),
        )
    for name in ("networks", "pools", "interfaces", "devices"):
        table = getattr(world, name)
        found[name] = (list(table.by_name), table.size, len(getattr(table, "by_uuid", ())))
        for thing in table:
            slots = {slot: getattr(thing, slot) for slot in thing.__slots__}
            if "volumes" in slots:
                volumes = slots.pop("volumes")
                slots["volumes"] = ([(one.name, one.model) for one in volumes], volumes.size)
                sizes = (thing.model.capacity, thing.model.allocation, thing.model.available)
                slots["model"] = (str(thing.model), sizes)
            found[f"{name} {thing.name}"] = slots
    return found
