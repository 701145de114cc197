"""What must outlive the daemon: rows in an SQLite file, written before anybody can see what they say.

::

    Store.create(path, rows)         a new file, complete or not there
    Store.open(path) -> Store        what the file holds, looked at before it is believed
    store.rows                       everything that it held when it was opened
    store.write(puts, drops)         one transaction, on the disk when the call returns

The room knows rows and files; what a row means is its owner's business.
"""

from __future__ import annotations

from remotevirt.store.database import CHECKPOINT_BYTES, Store
from remotevirt.store.errors import StoreBusy, StoreError
from remotevirt.store.rows import (
    KINDS,
    DeviceRow,
    DomainRow,
    GuestRow,
    InterfaceRow,
    MomentRow,
    NetworkRow,
    OwnerRow,
    PoolRow,
    Row,
    SecretRow,
    VolumeRow,
)
from remotevirt.store.schema import VERSION

__all__ = [
    "CHECKPOINT_BYTES",
    "KINDS",
    "VERSION",
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
    "Store",
    "StoreBusy",
    "StoreError",
    "VolumeRow",
]
