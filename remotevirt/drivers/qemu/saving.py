"""Saving guests into files and running them on: ``save`` with a file of the caller's, managed save with ours.

::

    save      paused ──► memory into the file ──► file on the disk, finished ──► QEMU ended, the domain off
    restore   the file's document ──► QEMU that waits ──► memory ──► runs, or is paused, as it was

What fails on the way leaves the guest as it was, and no file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from remotevirt.drivers.disk_threads import (
    close_in_thread,
    in_long_thread,
    in_thread,
    made_in_thread,
    surely_in_thread,
)
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.faults import both_flags
from remotevirt.drivers.qemu.access import check_allowed
from remotevirt.drivers.qemu.documents import movable_document
from remotevirt.drivers.qemu.flowing import fill, pour
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.live_cpu import as_asked
from remotevirt.drivers.qemu.outputs import output
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.running import run_cpus, stop_cpus
from remotevirt.drivers.qemu.savefile import SaveImage, finish_image, open_image, rewrite_image, start_image
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.qemu.starting import RESTORE, start, take_back
from remotevirt.drivers.qemu.stopping import SAVED, end
from remotevirt.drivers.qemu.taking_in import TakingIn
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.xml.domain.stability import check_stability

__all__ = ["SavingCalls", "check_path", "managed_path", "remove_managed", "restore_managed"]

RUNNING: Final[int] = c.VIR_DOMAIN_SAVE_RUNNING
PAUSED: Final[int] = c.VIR_DOMAIN_SAVE_PAUSED
SAVE_FLAGS: Final[int] = c.VIR_DOMAIN_SAVE_BYPASS_CACHE | RUNNING | PAUSED
RESTORE_FLAGS: Final[int] = SAVE_FLAGS | c.VIR_DOMAIN_SAVE_RESET_NVRAM


def managed_path(world: QemuWorld, record: QemuRecord) -> Path:
    """Return where a domain's managed save is."""
    return world.settings.save / f"{record.uuid.hex()}.save"


def _check_state(flags: int, function: str) -> None:
    """Refuse to let a guest run on and pause it; raises InvalidArg."""
    if flags & RUNNING and flags & PAUSED:
        raise both_flags(function, "VIR_DOMAIN_SAVE_RUNNING", "VIR_DOMAIN_SAVE_PAUSED")


async def check_path(path: str, settings: Settings) -> str:
    """Return where a path leads; refuse one that the operator does not allow, or that is none."""
    if not os.path.isabs(path):
        raise OperationInvalid(f"'{path}' is not an absolute path", domain=c.VIR_FROM_QEMU)
    return await in_thread(os.path.dirname(path), lambda stop: check_allowed(path, settings))


async def save(guest: Guest, path: str, xml: str, flags: int, *, managed: bool) -> None:
    """Save a guest into a file and end it; the caller has its turn.

    Args:
        guest: the guest.
        path: of the file.
        xml: the document that it shall be restored with.
        flags: SAVE_RUNNING or SAVE_PAUSED, which override what it is.
        managed: the file is ours, and the domain's next start uses it.

    Raises:
        VirError: it could not be saved, and goes on as it was.
    """
    record, world = guest.record, guest.world
    ran = record.state == c.VIR_DOMAIN_RUNNING
    running = (ran or bool(flags & RUNNING)) and not flags & PAUSED
    if ran:
        await stop_cpus(guest, c.VIR_DOMAIN_PAUSED_SAVE, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)
    try:
        async with output(
            guest,
            path,
            lambda: start_image(path, xml, running=running, over=True),
            lambda file: finish_image(file, path),
        ) as file:
            await pour(guest, file, c.VIR_DOMAIN_JOB_OPERATION_SAVE)
        guest.check_alive()
        if managed:
            await _keep_managed(world, record)
    except BaseException:
        if ran and record.guest is guest and guest.monitor is not None:
            await run_cpus(guest, c.VIR_DOMAIN_RUNNING_SAVE_CANCELED, c.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED)
        raise
    await end(guest, SAVED)


async def _keep_managed(world: QemuWorld, record: QemuRecord) -> None:
    """Note that a domain has a managed save.

    Raises:
        OperationInvalid: nobody could use it, and it is removed.
    """

    def keep() -> None:
        _check_persistent(record)  # it may have been undefined meanwhile
        world.set_managed_save(record, True)

    try:
        world.commit(keep)
    except BaseException:
        await remove_managed(world, record)
        raise


def _check_persistent(record: QemuRecord) -> None:
    if not record.persistent:
        text = "cannot do managed save for transient domain"
        raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)


async def restore_managed(
    world: QemuWorld, record: QemuRecord, *, paused: bool, autodestroy: bool, reset_nvram: bool = False
) -> None:
    """Start a domain from its managed save, which is gone afterwards; the caller has its turn.

    Before the guest runs, it is kept that its memory is in QEMU and no longer in the file: if the daemon dies
    here, the guest is found paused. Never would a file be used again whose guest has gone on.

    Raises:
        VirError: it cannot be run on; the managed save is kept.
    """
    path = str(managed_path(world, record))
    file, image = await _open_image(path)

    taken = False

    def loaded(guest: Guest) -> None:
        nonlocal taken
        taken = True
        world.set_managed_save(record, False)
        world.set_state(record, c.VIR_DOMAIN_PAUSED, RESTORE.paused)
        guest.started = True

    async def incoming(guest: Guest) -> None:
        await fill(guest, file)
        guest.check_alive()
        world.commit(loaded, guest)

    stays = paused or not image.running
    why = RESTORE._replace(suspended=c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED) if paused else RESTORE
    try:
        live = world.definitions(world.definitions.read(image.xml, live=True), len(image.xml))
        world.commit(world.replace_live, record, live)
        await start(
            world,
            record,
            why,
            paused=stays,
            incoming=incoming,
            autodestroy=autodestroy,
            reset_nvram=reset_nvram,
        )
    except BaseException:
        # until it was loaded, whether the file counts was for others to say: they may have removed it
        if taken and not record.active:
            await _give_up_managed(world, record)
        take_back(world, record)
        raise
    finally:
        await close_in_thread(os.path.dirname(path), file)
    await drop_managed(world, record)


async def _give_up_managed(world: QemuWorld, record: QemuRecord) -> None:
    """Let a managed save count again that could not be run on, or remove it if its domain was undefined."""
    if world.by_uuid.get(record.uuid) is record:
        world.commit(world.set_managed_save, record, True)
    else:
        await remove_managed(world, record)


async def drop_managed(world: QemuWorld, record: QemuRecord) -> None:
    """Forget the managed save of a domain."""
    world.commit(world.set_managed_save, record, False)
    await remove_managed(world, record)


async def remove_managed(world: QemuWorld, record: QemuRecord) -> None:
    """Remove the file of a managed save that counts no more."""
    path = managed_path(world, record)
    await surely_in_thread(str(path.parent), lambda stop: path.unlink(missing_ok=True))


async def _open_image(path: str, *, change: bool = False) -> tuple[int, SaveImage]:
    """Open a file and read what it says, in a thread; see :func:`open_image`."""
    return await made_in_thread(
        os.path.dirname(path),
        lambda stop: open_image(path, change=change),
        lambda opened: os.close(opened[0]),
    )


class SavingCalls(TakingIn):
    """virDomainSave and its family."""

    async def domain_save(self, dom: NonnullDomain, to: str) -> None:
        """Save a guest into a file, and end it."""
        await self.domain_save_flags(dom, to, None, 0)

    async def domain_save_flags(self, dom: NonnullDomain, to: str, dxml: str | None, flags: int) -> None:
        """As domain_save; ``dxml`` is what it shall be restored with, flags whether it shall run then."""
        _check_state(flags, "virDomainSaveFlags")
        self.check_flags(flags, SAVE_FLAGS, "DomainSaveFlags")
        record = self.record(dom)
        self.guest(record)
        path = await check_path(to, self.world.settings)
        async with self.turn(record, "remoteDispatchDomainSaveFlags"):
            guest = self.guest(record)
            await save(guest, path, self._document(record, dxml), flags, managed=False)

    def _document(self, record: QemuRecord, dxml: str | None) -> str:
        """Return what a guest is saved with: its own document, or one that the guest cannot tell apart."""
        definition: Definition = as_asked(record)
        if dxml is not None:
            other = self.world.definitions.parse(dxml)
            check_stability(other.model, definition.model)
            definition = other
        return movable_document(definition, c.VIR_DOMAIN_XML_SECURE)

    async def domain_managed_save(self, dom: NonnullDomain, flags: int) -> None:
        """Save a guest, and end it; its next start runs it on."""
        _check_state(flags, "virDomainManagedSave")
        self.check_flags(flags, SAVE_FLAGS, "DomainManagedSave")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "remoteDispatchDomainManagedSave"):
            guest = self.guest(record)
            _check_persistent(record)
            path = str(managed_path(self.world, record))
            await save(guest, path, self._document(record, None), flags, managed=True)

    def domain_has_managed_save_image(self, dom: NonnullDomain, flags: int) -> int:
        """Return 1 if a domain has a managed save."""
        self.check_flags(flags, 0, "DomainHasManagedSaveImage")
        return int(self.record(dom).managed_save)

    async def domain_managed_save_remove(self, dom: NonnullDomain, flags: int) -> None:
        """Forget the managed save of a domain."""
        self.check_flags(flags, 0, "DomainManagedSaveRemove")
        record = self.record(dom)
        if not record.managed_save:
            return
        async with self.turn(record, "remoteDispatchDomainManagedSaveRemove"):
            if record.managed_save:
                self.still(record)
                await drop_managed(self.world, record)

    async def domain_managed_save_get_xml_desc(self, dom: NonnullDomain, flags: int) -> str:
        """Return the document in the managed save of a domain."""
        known = c.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE
        self.check_flags(flags, known, "DomainManagedSaveGetXMLDesc")
        return await self._image_xml(str(self._managed(dom)), bool(flags & known))

    async def domain_managed_save_define_xml(self, dom: NonnullDomain, dxml: str | None, flags: int) -> None:
        """Change the document in the managed save of a domain."""
        await self.domain_save_image_define_xml(str(self._managed(dom)), dxml or "", flags)

    def _managed(self, dom: NonnullDomain) -> Path:
        record = self.record(dom)
        if not record.managed_save:
            text = "domain does not have managed save image"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        return managed_path(self.world, record)

    async def domain_save_image_get_xml_desc(self, file: str, flags: int) -> str:
        """Return the document in a file."""
        known = c.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE
        self.check_flags(flags, known, "DomainSaveImageGetXMLDesc")
        file = await check_path(file, self.world.settings)
        return await self._image_xml(file, bool(flags & known))

    async def _image_xml(self, path: str, secure: bool) -> str:
        descriptor, image = await _open_image(path)
        await close_in_thread(os.path.dirname(path), descriptor)
        definition = self.world.definitions(self.world.definitions.read(image.xml, live=True), len(image.xml))
        return definition.format(c.VIR_DOMAIN_XML_SECURE if secure else 0, -1)

    async def domain_save_image_define_xml(self, file: str, dxml: str, flags: int) -> None:
        """Change the document in a file, and with flags whether the guest runs when it is restored."""
        _check_state(flags, "virDomainSaveImageDefineXML")
        self.check_flags(flags, RUNNING | PAUSED, "DomainSaveImageDefineXML")
        file = await check_path(file, self.world.settings)
        descriptor, image = await _open_image(file, change=True)
        try:
            kind = self.world.definitions
            old, new = kind.read(image.xml, live=True), kind.parse(dxml)
            check_stability(new.model, old)
            running = (image.running or bool(flags & RUNNING)) and not flags & PAUSED
            xml = new.format(c.VIR_DOMAIN_XML_SECURE, 0)
            await in_long_thread(
                os.path.dirname(file),
                lambda stop: rewrite_image(descriptor, file, image, xml, running=running),
            )
        finally:
            await close_in_thread(os.path.dirname(file), descriptor)

    async def domain_restore(self, from_: str) -> None:
        """Run the guest in a file on."""
        await self.domain_restore_flags(from_, None, 0)

    async def domain_restore_flags(self, from_: str, dxml: str | None, flags: int) -> None:
        """As domain_restore; ``dxml`` instead of the file's document, flags whether it runs or is paused."""
        _check_state(flags, "virDomainRestoreFlags")
        self.check_flags(flags, RESTORE_FLAGS, "DomainRestoreInternal")
        world = self.world
        path = await check_path(from_, world.settings)
        file, image = await _open_image(path)
        try:
            definition = self._definition(image, dxml)
            stays = bool(flags & PAUSED) or not (image.running or flags & RUNNING)
            async with self.taken_in(definition, "remoteDispatchDomainRestoreFlags") as record:
                await start(
                    world,
                    record,
                    RESTORE,
                    paused=stays,
                    incoming=lambda guest: fill(guest, file),
                    reset_nvram=bool(flags & c.VIR_DOMAIN_SAVE_RESET_NVRAM),
                )
        finally:
            await close_in_thread(os.path.dirname(path), file)

    def _definition(self, image: SaveImage, dxml: str | None) -> Definition:
        """Return what the guest in a file is to be."""
        kind = self.world.definitions
        model = kind.read(image.xml, live=True)
        if dxml is not None:
            other = kind.parse(dxml)
            check_stability(other.model, model)
            model = other.model
        return kind(model, len(image.xml))

    async def domain_save_params(self, dom: NonnullDomain, params: Any, flags: int) -> None:
        """As domain_save_flags, or without a file domain_managed_save."""
        given = {param.field: param.value.value for param in params}
        path, dxml = given.get("file"), given.get("dxml")
        if path is None:
            await self.domain_managed_save(dom, flags)
        else:
            await self.domain_save_flags(dom, path, dxml, flags)

    async def domain_restore_params(self, params: Any, flags: int) -> None:
        """As domain_restore_flags."""
        given = {param.field: param.value.value for param in params}
        path = given.get("file")
        if path is None:
            raise OperationInvalid("missing path to the saved image", domain=c.VIR_FROM_QEMU)
        await self.domain_restore_flags(path, given.get("dxml"), flags)
