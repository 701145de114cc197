"""The rows of a store: one class for each table, in the order in which tables refer to one another.

A row is a plain tuple whose first columns are its key. ``position`` says in which order things came; ``size``
is what a document counts for in its owner's bounds. Each row is kept with a digest of its values, so that a
change that nobody made through the store does not go unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Final, NamedTuple, Protocol

__all__ = [
    "KINDS",
    "DeviceRow",
    "DomainRow",
    "GuestRow",
    "InterfaceRow",
    "MomentRow",
    "NetworkRow",
    "OwnerRow",
    "PoolRow",
    "Row",
    "SecretRow",
    "VolumeRow",
    "digest_of",
    "key_of",
]

DIGEST_BYTES: Final = 16
"""Enough to notice accidents; it keeps nobody out who can write to the file."""


class Row(Protocol):
    """What all rows have: the table's name, how many columns the key has, and the columns."""

    TABLE: ClassVar[str]
    KEYS: ClassVar[int]
    OWNER: ClassVar[type[Row] | None]
    _fields: ClassVar[tuple[str, ...]]

    def __iter__(self) -> Any: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class _Domain(NamedTuple):
    uuid: bytes
    position: int
    name: str
    document: str
    size: int
    memory: int
    current_memory: int
    vcpus: int
    autostart: int
    managed_save: int
    snapshot: str | None
    checkpoint: str | None


class DomainRow(_Domain):
    """A persistent domain: memory in KiB; the names of its current snapshot and checkpoint."""

    __slots__ = ()
    TABLE = "domains"
    KEYS = 1
    OWNER = None


class _Moment(NamedTuple):
    domain: bytes
    kind: str
    name: str
    position: int
    rank: int
    parent: str | None
    created: int
    document: str
    size: int
    guest_size: int


class MomentRow(_Moment):
    """A snapshot or checkpoint; of children of one parent those of the highest rank stand first."""

    __slots__ = ()
    TABLE = "moments"
    KEYS = 3
    OWNER = DomainRow


class _Network(NamedTuple):
    uuid: bytes
    position: int
    name: str
    document: str
    size: int
    autostart: int


class NetworkRow(_Network):
    """A persistent network."""

    __slots__ = ()
    TABLE = "networks"
    KEYS = 1
    OWNER = None


class _Pool(NamedTuple):
    uuid: bytes
    position: int
    name: str
    document: str
    size: int
    autostart: int
    allocation: int


class PoolRow(_Pool):
    """A persistent storage pool; allocation in bytes, -1 for what its volumes have together."""

    __slots__ = ()
    TABLE = "pools"
    KEYS = 1
    OWNER = None


class _Volume(NamedTuple):
    pool: bytes
    name: str
    position: int
    document: str
    size: int
    path: str
    key: str


class VolumeRow(_Volume):
    """A volume of a persistent pool."""

    __slots__ = ()
    TABLE = "volumes"
    KEYS = 2
    OWNER = PoolRow


class _Interface(NamedTuple):
    name: str
    position: int
    document: str
    size: int


class InterfaceRow(_Interface):
    """An interface of the host."""

    __slots__ = ()
    TABLE = "interfaces"
    KEYS = 1
    OWNER = None


class _Device(NamedTuple):
    name: str
    position: int
    document: str
    size: int


class DeviceRow(_Device):
    """A device of the host."""

    __slots__ = ()
    TABLE = "devices"
    KEYS = 1
    OWNER = None


class _Guest(NamedTuple):
    uuid: bytes
    position: int
    name: str
    document: str
    size: int
    id: int
    state: int
    reason: int
    process: str
    details: str


class GuestRow(_Guest):
    """A domain that runs, and its live document; ``process`` and ``details`` are its driver's, as JSON."""

    __slots__ = ()
    TABLE = "guests"
    KEYS = 1
    OWNER = None


class _Secret(NamedTuple):
    uuid: bytes
    position: int
    usage_type: int
    usage_id: str | None
    document: str
    size: int
    value: bytes | None


class SecretRow(_Secret):
    """A secret that lasts: what it is for, and its value, encrypted; None if it was never set."""

    __slots__ = ()
    TABLE = "secrets"
    KEYS = 1
    OWNER = None


class _Owner(NamedTuple):
    path: str
    position: int
    uid: int
    gid: int


class OwnerRow(_Owner):
    """A file that belonged to somebody before it was given to a guest that is no more, and is still owed."""

    __slots__ = ()
    TABLE = "owners"
    KEYS = 1
    OWNER = None


KINDS: Final[tuple[type[Any], ...]] = (
    DomainRow,
    MomentRow,
    NetworkRow,
    PoolRow,
    VolumeRow,
    InterfaceRow,
    DeviceRow,
    GuestRow,
    SecretRow,
    OwnerRow,
)
"""All of them; owners before what they own."""


def key_of(row: Any) -> tuple[Any, ...]:
    """Return a row's key."""
    return tuple(row[: row.KEYS])


def digest_of(values: Sequence[Any]) -> bytes:
    """Return the digest of a row's values: texts, bytes, integers and None."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    for value in values:
        if value is None:
            digest.update(b"-")
            continue
        data = value if isinstance(value, bytes) else str(value).encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.digest()
