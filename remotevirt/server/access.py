"""What a client may call.

A read-only client is held to the permissions that look but do not touch. libvirt decides this call by
call inside each public function; the access checks of the contract say the same thing as data, so that
is what is used here, with the few calls where libvirt's functions and its access checks disagree listed
by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remotevirt.procedures import Permission, Procedure
from remotevirt.server.faults import denied

__all__ = ["readonly_guard"]

READING = frozenset({"getattr", "read"})
"""Permissions of a read-only client, besides the ``search_`` ones."""

ALLOWED = frozenset(
    {
        "connect_baseline_hypervisor_cpu",
        "domain_migrate_get_compression_cache",
        "domain_migrate_get_max_downtime",
    }
)
"""Calls that libvirt lets a read-only client make although their access checks ask for more."""

DENIED = frozenset(
    {
        "domain_get_launch_security_info",
        "domain_set_scheduler_parameters",
        "node_device_get_autostart",
        "node_get_sev_info",
    }
)
"""Calls that libvirt refuses to a read-only client although their access checks ask for reading only."""


def _reads(permission: Permission) -> bool:
    return permission.permission in READING or permission.permission.startswith("search_")


def readonly_guard(procedure: Procedure) -> Callable[[Any], None] | None:
    """Return what checks the arguments of a call by a read-only client, None if they do not matter.

    Raises:
        VirError: VIR_ERR_OPERATION_DENIED, the call changes something whatever its arguments are.
    """
    if procedure.name in ALLOWED:
        return None
    if procedure.acl is None or procedure.name in DENIED:
        raise denied(procedure)
    conditional = []
    for permission in procedure.acl:
        if _reads(permission):
            continue
        if not (permission.flags or permission.unless or permission.param):
            raise denied(procedure)
        conditional.append(permission)
    if not conditional:
        return None

    def guard(args: Any) -> None:
        for permission in conditional:
            if applies(permission, args):
                raise denied(procedure, secrets=permission.permission == "read_secure")

    return guard


def applies(permission: Permission, args: Any) -> bool:
    """Tell whether a conditional access check counts for these arguments."""
    if permission.param is not None:
        return bool(getattr(args, permission.param) == permission.value)
    if permission.flags:
        return bool(args.flags & permission.flags == permission.flags)
    return not args.flags & permission.unless
