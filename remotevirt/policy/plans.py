"""What each procedure needs, made from the contract's access annotations.

The contract says which permissions a call needs; where the object is that it needs them on, follows from the
types of its arguments::

    domain_create(dom)                 domain:start       the reference ``dom``
    domain_snapshot_delete(snap)       domain:snapshot    the domain in the reference ``snap``
    node_device_reset(name)            node_device:...    the device of that name
    network_define_xml(xml)            network:save ...   what the document defines, and what it replaces
    network_lookup_by_name(name)       network:getattr    what is returned
    domain_restore(from)               domain:start ...   nobody knows before it is done

The few that follow no rule are tables here. A test goes through all procedures and finds a place for every
permission.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import attrs

from remotevirt.procedures import Permission, Procedure, Program
from remotevirt.stubs import lxc, qemu, remote

__all__ = [
    "CONNECTION",
    "UNKNOWN",
    "Check",
    "Document",
    "Filter",
    "Named",
    "Outcome",
    "Parameters",
    "Place",
    "Plan",
    "Reference",
    "plan_of",
]


@attrs.frozen
class Place:
    """Where the object of a permission is found; as it is: it is the connection, or nobody knows."""

    kind: str


@attrs.frozen
class Reference(Place):
    """An argument refers to it.

    Attributes:
        index: of the argument.
        part: the field of the argument that is the reference, None if it is all of it.
        renamed: the index of an argument with the name that it shall have, None if it keeps its own.
    """

    index: int
    part: str | None = None
    renamed: int | None = None


@attrs.frozen
class Named(Place):
    """An argument is its name.

    Attributes:
        index: of the argument.
    """

    index: int


@attrs.frozen
class Document(Place):
    """An argument is a document that defines it.

    Attributes:
        index: of the argument.
        parent: the index of the reference to the pool or network that it shall be in, None if there is none;
        parent_kind: which.
        name: the index of an argument with a name that goes before the document's, None if there is none.
    """

    index: int
    parent: int | None = None
    parent_kind: str = ""
    name: int | None = None


@attrs.frozen
class Parameters(Place):
    """Typed parameters hold its name, and perhaps a document that defines it.

    Attributes:
        index: of the argument.
        there: whether it is there already.
    """

    index: int
    there: bool


@attrs.frozen
class Outcome(Place):
    """It is what the call returns. Such calls change nothing."""


CONNECTION: Final = Place("connect")

UNKNOWN: Final = Place("domain")
"""A domain that the driver alone can tell: it is in a file, or in what it agreed on with another host."""


@attrs.frozen
class Check:
    """Permissions on what is in one place.

    Attributes:
        place: where.
        permissions: which; each may have a condition.
    """

    place: Place
    permissions: tuple[Permission, ...]


@attrs.frozen
class Filter:
    """How a result is filtered.

    Attributes:
        permission: that an object must have to be shown.
        form: ``"all"`` (a struct of references and their number), ``"names"``, ``"ids"``, ``"uuids"``,
            ``"count"`` or ``"stats"``.
        index: of the argument that says whether references are wanted, or how many names at most.
        source: for a count, the procedure that lists what is counted.
        parent: the index of the reference to the pool or network whose objects are listed, None if there is
            none.
        maximum: how many a list can hold.
        result: the struct of the result.
    """

    permission: Permission
    form: str
    index: int = -1
    source: str = ""
    parent: int | None = None
    maximum: int = 0
    result: Any = None


@attrs.frozen
class Plan:
    """All that a procedure needs.

    Attributes:
        checks: in the order in which they are made.
        filter: how its result is filtered, None if it is not.
    """

    checks: tuple[Check, ...]
    filter: Filter | None = None


REFERENCES: Final[dict[type, tuple[str, str | None]]] = {
    remote.NonnullDomain: ("domain", None),
    remote.NonnullDomainSnapshot: ("domain", "dom"),
    remote.NonnullDomainCheckpoint: ("domain", "dom"),
    remote.NonnullNetwork: ("network", None),
    remote.NonnullNetworkPort: ("network_port", None),
    remote.NonnullStoragePool: ("storage_pool", None),
    remote.NonnullStorageVol: ("storage_vol", None),
    remote.NonnullInterface: ("interface", None),
    remote.NonnullSecret: ("secret", None),
    remote.NonnullNwfilter: ("nwfilter", None),
    remote.NonnullNwfilterBinding: ("nwfilter_binding", None),
}
"""Struct of a reference -> kind of object, and which field of the struct refers to it."""

BY_TYPE: Final = {struct.__name__: found for struct, found in REFERENCES.items()}

DOCUMENTS: Final = ("xml", "xml_desc", "dom_xml")
"""What arguments are called that are documents."""

LOOKUPS: Final = frozenset(
    {
        "domain_lookup_by_id",
        "domain_lookup_by_name",
        "domain_lookup_by_uuid",
        "interface_lookup_by_mac_string",
        "interface_lookup_by_name",
        "network_lookup_by_name",
        "network_lookup_by_uuid",
        "network_port_lookup_by_uuid",
        "node_device_lookup_by_name",
        "node_device_lookup_scsi_host_by_wwn",
        "nwfilter_binding_lookup_by_port_dev",
        "nwfilter_lookup_by_name",
        "nwfilter_lookup_by_uuid",
        "secret_lookup_by_usage",
        "secret_lookup_by_uuid",
        "storage_pool_lookup_by_name",
        "storage_pool_lookup_by_target_path",
        "storage_pool_lookup_by_uuid",
        "storage_pool_lookup_by_volume",
        "storage_vol_lookup_by_key",
        "storage_vol_lookup_by_name",
        "storage_vol_lookup_by_path",
    }
)
"""Calls whose permissions are on what they return. They must change nothing."""

DEFINING: Final = frozenset(
    {
        "domain_create_xml",
        "domain_create_xml_with_files",
        "domain_define_xml",
        "domain_define_xml_flags",
        "domain_migrate_prepare2",
        "domain_migrate_prepare3",
        "domain_migrate_prepare_tunnel",
        "domain_migrate_prepare_tunnel3",
        "interface_define_xml",
        "network_create_xml",
        "network_create_xml_flags",
        "network_define_xml",
        "network_define_xml_flags",
        "network_port_create_xml",
        "node_device_create_xml",
        "node_device_define_xml",
        "nwfilter_binding_create_xml",
        "nwfilter_define_xml",
        "nwfilter_define_xml_flags",
        "secret_define_xml",
        "storage_pool_create_xml",
        "storage_pool_define_xml",
        "storage_vol_create_xml",
        "storage_vol_create_xml_from",
    }
)
"""Calls whose permissions are on what a document defines."""

HIDDEN: Final = frozenset(
    {
        "domain_attach",
        "domain_migrate_prepare",
        "domain_restore",
        "domain_restore_flags",
        "domain_restore_params",
        "domain_save_image_define_xml",
        "domain_save_image_get_xml_desc",
    }
)
"""Calls whose permissions are on a domain that nobody knows before the driver has looked."""

FINISHING: Final = frozenset({"domain_migrate_finish", "domain_migrate_finish2", "domain_migrate_finish3"})
"""Calls whose permissions are on the domain that ``dname`` names."""

PARAMETERS: Final = {
    "domain_migrate_finish3_params": True,
    "domain_migrate_prepare3_params": False,
    "domain_migrate_prepare_tunnel3_params": False,
}
"""Calls whose permissions are on a domain that typed parameters name -> whether it is there already."""

CLONED: Final = Permission("storage_vol", "data_read")
"""What copying a volume needs of the one that is copied. libvirt asks for nothing, and so lets whoever may
create a volume read every other one."""

LIST_MAXIMUM: Final[dict[str, int]] = {
    "domain": 16384,
    "interface": 16384,
    "network": 16384,
    "node_device": 65536,
    "nwfilter": 16384,
    "secret": 16384,
    "storage_pool": 16384,
    "storage_vol": 16384,
}
"""How many names one list can hold: REMOTE_DOMAIN_LIST_MAX and its likes."""


@cache
def plan_of(program: Program, procedure: Procedure) -> Plan | None:
    """Return what a procedure needs; None if it declares nothing, and then nobody may call it.

    Raises:
        LookupError: the contract has a permission for which there is no rule here.
    """
    if procedure.acl is None:
        return None
    at: dict[Place, list[Permission]] = {}
    for permission in procedure.acl:
        at.setdefault(_place(procedure, permission), []).append(permission)
    if procedure.name == "domain_rename":
        (place,) = at
        at = {attrs.evolve(place, renamed=_index(procedure, "new_name")): at[place]}  # type: ignore[call-arg]
    if procedure.name == "storage_vol_create_xml_from":
        at[Reference("storage_vol", _index(procedure, "clonevol"))] = [CLONED]
    checks = tuple(Check(place, tuple(permissions)) for place, permissions in at.items())
    return Plan(checks, _filter(program, procedure))


def _fields(procedure: Procedure) -> dict[str, str]:
    """The arguments of a procedure: name -> type, as the stubs write it."""
    if procedure.args is None:
        return {}
    annotations = procedure.args.__annotations__
    return {name: str(getattr(kind, "__forward_arg__", kind)) for name, kind in annotations.items()}


def _index(procedure: Procedure, *names: str) -> int:
    for index, name in enumerate(_fields(procedure)):
        if name in names:
            return index
    raise LookupError(f"{procedure.name} has no argument {' or '.join(names)}")


def _place(procedure: Procedure, permission: Permission) -> Place:
    """Find out on what a procedure needs a permission."""
    name, kind = procedure.name, permission.object
    if kind == "connect":
        return CONNECTION
    if name in LOOKUPS:
        return Outcome(kind)
    if name in HIDDEN:
        return UNKNOWN
    if name in DEFINING:
        return _document(procedure, kind)
    if name in FINISHING:
        return Named(kind, _index(procedure, "dname"))
    if name in PARAMETERS:
        return Parameters(kind, _index(procedure, "params"), PARAMETERS[name])
    for index, text in enumerate(_fields(procedure).values()):
        found = BY_TYPE.get(text)
        if found is not None and found[0] == kind:
            return Reference(kind, index, found[1])
    if kind == "node_device":
        return Named(kind, _index(procedure, "name"))
    raise LookupError(f"on what does {name} need {kind}:{permission.permission}?")


def _document(procedure: Procedure, kind: str) -> Document:
    index = _index(procedure, *DOCUMENTS)
    fields = list(_fields(procedure).items())
    name = next((number for number, (field, _) in enumerate(fields) if field == "dname"), None)
    for number, (_, text) in enumerate(fields):
        found = BY_TYPE.get(text)
        if found is not None and found[0] != kind:
            return Document(kind, index, number, found[0], name)
    return Document(kind, index, name=name)


def _filter(program: Program, procedure: Procedure) -> Filter | None:
    """Find out how what a procedure returns is filtered. (Registering for events filters these.)"""
    if not procedure.aclfilter or "event_register" in procedure.name or "event_callback" in procedure.name:
        return None
    (permission,) = procedure.aclfilter
    fields = _fields(procedure)
    names = list(fields)
    parents = [n for n, text in enumerate(fields.values()) if BY_TYPE.get(text, ("", 0))[0] in _PARENTS]
    parent = parents[0] if parents else None
    name = procedure.name
    maximum = LIST_MAXIMUM.get(permission.object, 0)
    if name == "connect_get_all_domain_stats":
        return Filter(permission, "stats", names.index("doms"))
    if "need_results" in fields:
        return Filter(permission, "all", names.index("need_results"), parent=parent, result=procedure.ret)
    if "num_of_" in name:
        source = name.replace("num_of_", "list_")
        other = program.by_name[source]
        inner = _filter(program, other)
        if inner is None:
            raise LookupError(f"{name} counts what nobody lists")
        return attrs.evolve(inner, form=f"count {inner.form}", source=source)
    for argument, form in (("maxids", "ids"), ("maxuuids", "uuids"), ("maxnames", "names")):
        if argument in fields:
            return Filter(permission, form, names.index(argument), parent=parent, maximum=maximum)
    raise LookupError(f"how is the result of {name} filtered?")


_PARENTS: Final = ("network", "storage_pool")


def _check_tables() -> None:
    """Make sure that the tables name nothing that the contract does not have."""
    known = {name for module in (remote, qemu, lxc) for name in module.PROGRAM.by_name}
    wrong = {*LOOKUPS, *DEFINING, *HIDDEN, *FINISHING, *PARAMETERS} - known
    if wrong:
        raise LookupError(f"no procedures: {', '.join(sorted(wrong))}")


_check_tables()
