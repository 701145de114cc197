"""A running guest and its live definition, made to agree after a daemon that died in the middle of a change.

::

    a call was changing devices ──► what it had made is undone: nobody was told that it went well
    the definition has a device that QEMU has not ──► it goes, with its event
    QEMU has a device of a call's that the guest keeps ──► what is behind goes when the guest lets go of it

Devices that nobody here has made, by way of QEMU's own monitor, are left alone. libvirt takes devices that
have gone out of its definition as well; what a daemon of its own had begun to make stays in QEMU.
"""

from __future__ import annotations

from twisted.logger import Logger

from remotevirt.drivers.qemu.cpu_plugging import vcpus_meanwhile
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.handing import release_files
from remotevirt.drivers.qemu.making import forget_making, undo_all
from remotevirt.drivers.qemu.media import put_back
from remotevirt.drivers.qemu.unplugging import gone_meanwhile
from remotevirt.errors import VirError

__all__ = ["reconcile"]

log = Logger()


async def reconcile(guest: Guest) -> None:
    """Have QEMU and the live definition agree; the caller has the guest's turn. Raises VirError."""
    making = guest.details.making
    if making:
        log.warn("guest {name!r}: a change did not come to its end, and is undone", name=guest.record.name)
        for disk in guest.record.live.model.devices.disks:
            if disk.device in ("cdrom", "floppy"):
                try:
                    await put_back(guest, disk)
                except VirError as error:
                    log.error("drive {name}: {error}", name=disk.dev, error=error)
        await undo_all(guest, making, maybe=True)
        forget_making(guest)
    await gone_meanwhile(guest)
    await vcpus_meanwhile(guest)
    await release_files(guest)
