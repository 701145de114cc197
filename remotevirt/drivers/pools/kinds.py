"""The types of storage pools, and the filters of lists."""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.tables import passes
from remotevirt.stubs import constants as c

__all__ = ["FILTERS", "TYPES", "pool_passes"]

TYPES: Final[dict[str, int]] = {
    "dir": c.VIR_CONNECT_LIST_STORAGE_POOLS_DIR,
    "fs": c.VIR_CONNECT_LIST_STORAGE_POOLS_FS,
    "netfs": c.VIR_CONNECT_LIST_STORAGE_POOLS_NETFS,
    "logical": c.VIR_CONNECT_LIST_STORAGE_POOLS_LOGICAL,
    "disk": c.VIR_CONNECT_LIST_STORAGE_POOLS_DISK,
    "iscsi": c.VIR_CONNECT_LIST_STORAGE_POOLS_ISCSI,
    "iscsi-direct": c.VIR_CONNECT_LIST_STORAGE_POOLS_ISCSI_DIRECT,
    "scsi": c.VIR_CONNECT_LIST_STORAGE_POOLS_SCSI,
    "mpath": c.VIR_CONNECT_LIST_STORAGE_POOLS_MPATH,
    "rbd": c.VIR_CONNECT_LIST_STORAGE_POOLS_RBD,
    "sheepdog": c.VIR_CONNECT_LIST_STORAGE_POOLS_SHEEPDOG,
    "gluster": c.VIR_CONNECT_LIST_STORAGE_POOLS_GLUSTER,
    "zfs": c.VIR_CONNECT_LIST_STORAGE_POOLS_ZFS,
    "vstorage": c.VIR_CONNECT_LIST_STORAGE_POOLS_VSTORAGE,
}
"""The types of pools in the order of virStoragePoolType, and the list filter of each."""

ACTIVITY: Final = (c.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE, c.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE)
PERSISTENCE: Final = (
    c.VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT,
    c.VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT,
)
AUTOSTART: Final = (
    c.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART,
    c.VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART,
)
KINDS: Final[int] = sum(TYPES.values())
FILTERS: Final[int] = KINDS | sum(ACTIVITY + PERSISTENCE + AUTOSTART)


def pool_passes(flags: int, kind: str, *, active: bool, persistent: bool, autostart: bool) -> bool:
    """Return whether a pool of a type passes a list filter."""
    if flags & KINDS and not flags & TYPES[kind]:
        return False
    return passes(flags, (*ACTIVITY, active), (*PERSISTENCE, persistent), (*AUTOSTART, autostart))
