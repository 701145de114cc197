"""Another medium in a drive of a running guest, or none.

::

    new nodes ──► tray opened ──► old medium out ──► new one in ──► tray closed ──► commit ──► old nodes go
                     │                   └── fails: the old one comes back
                     └── the guest has locked it: it is asked, and has 5 seconds (with force it is not asked)
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from twisted.internet.defer import TimeoutError

from remotevirt.drivers.domains.devices import DeviceEditor
from remotevirt.drivers.qemu.command import block_id, block_parts, node_of, throttle_of
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.handing import release_files
from remotevirt.drivers.qemu.making import Making, forget_making, made, remove_parts, undoing
from remotevirt.drivers.qemu.plugging import Change, find_images, setting_of
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed
from remotevirt.xml.domain.disk import Disk, DiskDriver

__all__ = ["TRAY_SECONDS", "change_medium", "put_back"]

TRAY_SECONDS: Final = 5.0
"""How long a guest that has locked a tray may take to open it; libvirt's CHANGE_MEDIA_TIMEOUT."""


async def change_medium(guest: Guest, wanted: Disk, config: Change | None, *, force: bool) -> None:
    """Change the medium of a drive; the caller holds the guest's turn.

    Args:
        guest: whose drive it is.
        wanted: the document, whose target names the drive; without a source the drive gets empty.
        config: what to do to the persistent definition at the same time.
        force: open the tray whether the guest has locked it or not.

    Raises:
        OperationFailed: the guest does not open the tray.
        VirError: the medium cannot be had, or QEMU refuses; the drive has the old one.
    """
    world, record = guest.world, guest.record
    setting = await setting_of(guest)
    old = next(one for one in record.live.model.devices.disks if one.dev == wanted.dev).copy()
    new = _with_medium(old, wanted)
    if not new.source_is_empty():
        await find_images(guest, new)
    making, swap = Making(guest), _Swap(guest, old)
    try:
        await making.add(block_parts(setting, new))
        await swap.open_tray(force=force)
        await swap.put(new)
        guest.check_alive()

        def take_in(editor: DeviceEditor) -> None:
            for disk in editor.model.devices.disks:
                if disk.dev == new.dev:
                    disk.type, disk.source, disk.backing, disk.driver = (
                        new.type,
                        new.source,
                        new.backing,
                        new.driver,
                    )

        def commit() -> None:
            world.change_devices(record, live=take_in, config=config)
            made(guest, undoing(behind))

        behind = block_parts(setting, old)
        world.commit(commit)
    except BaseException:
        await swap.restore()
        await making.take_back()
        raise
    await making.done()
    await remove_parts(guest, behind)
    forget_making(guest)
    await release_files(guest)


def _with_medium(old: Disk, wanted: Disk) -> Disk:
    """Return a drive with the medium of another document: its source and its format, and nothing else."""
    new = old.copy()
    new.type, new.source, new.backing = wanted.type, wanted.source, wanted.backing
    new.driver = new.driver or DiskDriver()
    new.driver.type = (wanted.driver.type if wanted.driver is not None else None) or "raw"
    return new


async def put_back(guest: Guest, disk: Disk) -> None:
    """Have in a drive what its definition says, after a change that did not come to its end.

    Raises:
        VirError: QEMU refuses.
    """
    answer, wanted = await guest.execute("query-block"), node_of(disk)
    for one in objects_of(answer):
        if one.get("qdev") != block_id(disk):
            continue
        inside = one.get("inserted")
        node = inside.get("node-name") if isinstance(inside, dict) else None
        if node == wanted and not one.get("tray_open"):
            return
        swap = _Swap(guest, disk)
        await guest.execute("blockdev-open-tray", {"id": block_id(disk), "force": True})
        await swap.exchange(wanted)
        await guest.execute("blockdev-close-tray", {"id": block_id(disk)})


class _Swap:
    """One exchange, and how to take it back."""

    def __init__(self, guest: Guest, old: Disk) -> None:
        self.guest = guest
        self.old = old
        self._id = block_id(old)
        self._inside = node_of(old)

    async def open_tray(self, *, force: bool) -> None:
        """Open the tray, or find out that there is none or that it is open. Raises OperationFailed."""
        guest, old = self.guest, self.old
        if old.device != "cdrom" or (old.target is not None and old.target.tray == "open"):
            await guest.execute("blockdev-open-tray", {"id": self._id, "force": True})
            return
        opened = guest.wait_for("TRAY_OPEN", self._id)
        opened.addTimeout(TRAY_SECONDS, guest.world.reactor)
        try:
            await guest.execute("blockdev-open-tray", {"id": self._id, "force": force})
        except BaseException:
            opened.addErrback(lambda _: None)
            opened.cancel()
            raise
        try:
            await opened
        except TimeoutError:
            text = f"timed out waiting to open tray of '{old.dev}'"
            raise OperationFailed(text, domain=c.VIR_FROM_QEMU) from None

    async def put(self, new: Disk) -> None:
        """Take out what is inside, put in the new medium if there is one, and close the tray."""
        await self.exchange(node_of(new))
        order = throttle_of(new)
        if order is not None and self._inside is not None:
            await self.guest.execute(order.execute, order.arguments)
        await self.guest.execute("blockdev-close-tray", {"id": self._id})

    async def restore(self) -> None:
        """Put the old medium back, as far as QEMU lets."""
        if self.guest.monitor is None or self._inside == node_of(self.old):
            return
        with suppress(VirError):
            await self.guest.execute("blockdev-open-tray", {"id": self._id, "force": True})
            await self.exchange(node_of(self.old))
            await self.guest.execute("blockdev-close-tray", {"id": self._id})

    async def exchange(self, node: str | None) -> None:
        """Take out what is inside, and put a node in; raises VirError."""
        if self._inside is not None:
            await self.guest.execute("blockdev-remove-medium", {"id": self._id})
            self._inside = None
        if node is not None:
            await self.guest.execute("blockdev-insert-medium", {"id": self._id, "node-name": node})
            self._inside = node
