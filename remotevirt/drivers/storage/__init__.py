"""Storage for real: pools that are folders, file systems or volume groups; any hypervisor may use it.

::

    RealStorage ── calls of clients ──> PoolTable ── records of pools and volumes, in memory
        │                                   ▲
        │ long work                         │ what was found
        ▼                                   │
    threads (look, copy, wipe, fill)   processes (qemu-img, mount, LVM's tools)

What a pool holds is read from the disk when it starts and when somebody asks; only definitions are kept
(:mod:`remotevirt.drivers.storage.driver`). Images are opened in the format that is known of them. What a
client or a guest has written into an image is looked at by :mod:`remotevirt.drivers.storage.images` alone.
"""

from __future__ import annotations

from remotevirt.drivers.storage.driver import RealStorage
from remotevirt.drivers.storage.records import VolumeFile

__all__ = ["RealStorage", "VolumeFile"]
