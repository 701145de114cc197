"""A connection with two of everything, ``one`` and ``two``, and arguments for every procedure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from remotevirt.drivers import DriverConnection
from remotevirt.policy.permissions import PROGRAMS
from remotevirt.policy.plans import BY_TYPE
from remotevirt.procedures import Procedure
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.errors import (
    NoDomain,
    NoInterface,
    NoNetwork,
    NoNetworkPort,
    NoNodeDevice,
    NoNwfilter,
    NoNwfilterBinding,
    NoSecret,
    NoStoragePool,
    NoStorageVol,
)
from remotevirt.stubs.remote.types import TypedParamValue

__all__ = ["NAMES", "Recorder", "arguments", "connection", "document", "refs"]

NAMES = ("one", "two")

ERRORS: dict[str, Any] = {
    "domain": NoDomain,
    "interface": NoInterface,
    "network": NoNetwork,
    "network_port": NoNetworkPort,
    "node_device": NoNodeDevice,
    "nwfilter": NoNwfilter,
    "nwfilter_binding": NoNwfilterBinding,
    "secret": NoSecret,
    "storage_pool": NoStoragePool,
    "storage_vol": NoStorageVol,
}


NOTHING = DriverConnection("fake:///")
"""Sub-drivers that can do nothing."""


def uuid_of(name: str) -> bytes:
    """The UUID of whatever has a name."""
    return name[:1].encode() * 16


def ref(kind: str, name: str) -> Any:
    """The reference to an object of a name. Ports have none: they are in the network of that name."""
    uuid = uuid_of(name)
    return {
        "domain": lambda: remote.NonnullDomain(name, uuid, NAMES.index(name) if name in NAMES else -1),
        "interface": lambda: remote.NonnullInterface(name, f"mac of {name}"),
        "network": lambda: remote.NonnullNetwork(name, uuid),
        "network_port": lambda: remote.NonnullNetworkPort(ref("network", name), uuid),
        "node_device": lambda: remote.NonnullNodeDevice(name),
        "nwfilter": lambda: remote.NonnullNwfilter(name, uuid),
        "nwfilter_binding": lambda: remote.NonnullNwfilterBinding(name, "filter"),
        "secret": lambda: remote.NonnullSecret(uuid, 1, name),
        "storage_pool": lambda: remote.NonnullStoragePool(name, uuid),
        "storage_vol": lambda: remote.NonnullStorageVol("pool", name, f"key of {name}"),
    }[kind]()


def refs(kind: str) -> list[Any]:
    """The references to both objects of a kind."""
    return [ref(kind, name) for name in NAMES]


def find(kind: str, wanted: Callable[[Any], bool]) -> Any:
    """The one that is wanted; the error that drivers answer otherwise."""
    for found in refs(kind):
        if wanted(found):
            return found
    raise ERRORS[kind]()


LIST_INDEX = {1: 0, 2: 1, 3: 1}
"""Number of arguments of a list of names -> index of the one that says how many are wanted."""


def listed(procedure: Procedure) -> list[Any] | None:
    """What a list of names (or ids, or UUIDs) holds; None if it is none."""
    fields = getattr(procedure.args, "_fields", ())
    if procedure.aclfilter and "maxnames" in fields:
        return list(NAMES)
    if procedure.aclfilter and "maxids" in fields:
        return [0, 1]
    if procedure.aclfilter and "maxuuids" in fields:
        return [str(UUID(bytes=uuid_of(name))) for name in NAMES]
    return None


def document(kind: str, name: str) -> str:
    """A document that defines something of a name."""
    if kind in ("interface", "nwfilter"):
        return f"<x name='{name}'/>"
    if kind == "nwfilter_binding":
        return f"<x><portdev name='{name}'/></x>"
    if kind == "secret":
        return f"<x><usage type='volume'><volume>{name}</volume></usage></x>"
    return f"<x><name>{name}</name></x>"


class Recorder:
    """A method that remembers how it was called.

    Args:
        result: what it returns.
    """

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> Any:
        """Remember."""
        self.calls.append(args)
        return self.result


def connection(
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda method: method,
) -> DriverConnection:
    """A connection whose drivers know how to look things up and to list names, and no more.

    Args:
        wrap: applied to each look-up; may make it take time.
    """
    lookups: dict[str, dict[str, Callable[..., Any]]] = {
        "hypervisor": {
            "domain_lookup_by_uuid": lambda uuid: find("domain", lambda d: d.uuid == uuid),
            "domain_lookup_by_name": lambda name: find("domain", lambda d: d.name == name),
            "domain_lookup_by_id": lambda id: find("domain", lambda d: d.id == id),
        },
        "network": {
            "network_lookup_by_uuid": lambda uuid: find("network", lambda n: n.uuid == uuid),
            "network_lookup_by_name": lambda name: find("network", lambda n: n.name == name),
            "network_port_lookup_by_uuid": lambda net, uuid: find(
                "network_port", lambda p: p.net.name == net.name and p.uuid == uuid
            ),
        },
        "storage": {
            "storage_pool_lookup_by_uuid": lambda uuid: find("storage_pool", lambda p: p.uuid == uuid),
            "storage_pool_lookup_by_name": lambda name: (
                ref("storage_pool", "pool")
                if name == "pool"
                else find("storage_pool", lambda p: p.name == name)
            ),
            "storage_vol_lookup_by_name": lambda pool, name: find("storage_vol", lambda v: v.name == name),
            "storage_vol_lookup_by_key": lambda key: find("storage_vol", lambda v: v.key == key),
        },
        "interface": {
            "interface_lookup_by_name": lambda name: find("interface", lambda i: i.name == name),
            "interface_lookup_by_mac_string": lambda mac: find("interface", lambda i: i.mac == mac),
        },
        "nwfilter": {
            "nwfilter_lookup_by_uuid": lambda uuid: find("nwfilter", lambda f: f.uuid == uuid),
            "nwfilter_lookup_by_name": lambda name: find("nwfilter", lambda f: f.name == name),
        },
        "secret": {
            "secret_lookup_by_uuid": lambda uuid: find("secret", lambda s: s.uuid == uuid),
            "secret_lookup_by_usage": lambda kind, id: find("secret", lambda s: s.usageID == id),
        },
    }
    for program in PROGRAMS:
        for procedure in program.procedures.values():
            found = listed(procedure)
            if found is not None and procedure.driver is not None:
                answer = lookups.setdefault(procedure.driver, {})
                answer[procedure.name] = lambda *args, found=found: found[: args[LIST_INDEX[len(args)]]]
    made: dict[str, Any] = {
        name: type(
            "Fake", (type(getattr(NOTHING, name)),), {n: staticmethod(wrap(m)) for n, m in methods.items()}
        )()
        for name, methods in lookups.items()
    }
    return DriverConnection("fake:///", **made)


def arguments(procedure: Procedure, kind: str, name: str) -> Any:
    """Arguments that are all about the object of a name.

    Args:
        procedure: whose arguments.
        kind: of the object that its permissions are on.
        name: of the object; others that are needed besides have the same.
    """
    if procedure.args is None:
        return ()
    args = procedure.args.unpack(bytes(4096), 0)[0]
    values: dict[str, Any] = {}
    for field, annotation in procedure.args.__annotations__.items():
        text = getattr(annotation, "__forward_arg__", annotation)
        if text == "NonnullDomainSnapshot":
            values[field] = remote.NonnullDomainSnapshot("snap", ref("domain", name))
        elif text == "NonnullDomainCheckpoint":
            values[field] = remote.NonnullDomainCheckpoint("check", ref("domain", name))
        elif text in BY_TYPE:
            values[field] = ref(BY_TYPE[text][0], name)
        elif field in ("xml", "xml_desc", "dom_xml"):
            values[field] = document(kind, name)
        elif (field in ("name", "new_name") and text.startswith("str")) or field == "dname":
            values[field] = name
        elif field == "params" and "migrate" in procedure.name:
            values[field] = [
                remote.TypedParam(vir.VIR_MIGRATE_PARAM_DEST_NAME, TypedParamValue(7, name)),
                remote.TypedParam(
                    vir.VIR_MIGRATE_PARAM_DEST_XML, TypedParamValue(7, document(kind, "other"))
                ),
            ]
        elif field in ("maxnames", "maxids", "maxuuids"):
            values[field] = 10
    return args._replace(**values)
