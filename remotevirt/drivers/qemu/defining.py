"""Taking domains in and letting them go: create from XML, undefine."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from remotevirt.drivers.disk_threads import in_thread
from remotevirt.drivers.documents import Steps, Work, in_steps
from remotevirt.drivers.domains.defining import DefineCalls
from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.domain import DomainRecord
from remotevirt.drivers.qemu.lifecycle import LifecycleCalls
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.saving import remove_managed
from remotevirt.drivers.qemu.starting import BOOT, start
from remotevirt.drivers.qemu.taking_in import TakingIn
from remotevirt.drivers.qemu.variables import remove_variables, variables_path
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, OperationInvalid
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["DefiningCalls"]

CREATE_FLAGS: Final[int] = (
    c.VIR_DOMAIN_START_PAUSED
    | c.VIR_DOMAIN_START_AUTODESTROY
    | c.VIR_DOMAIN_START_VALIDATE
    | c.VIR_DOMAIN_START_RESET_NVRAM
)
"""What creating from XML knows in libvirt 9.0.0's QEMU driver."""

UNDEFINE_FLAGS: Final[int] = (
    c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | c.VIR_DOMAIN_UNDEFINE_NVRAM
    | c.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    | c.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | c.VIR_DOMAIN_UNDEFINE_TPM
    | c.VIR_DOMAIN_UNDEFINE_KEEP_TPM
)
"""What undefine knows in libvirt 9.0.0's QEMU driver."""


@in_steps
def _parse(kind: type[Definition], xml: str, validate: bool) -> Steps[Definition]:
    """Read a document, in a thread if it is long."""
    definition: Definition = yield Work(len(xml), kind.parse, xml, validate=validate)
    return definition


class DefiningCalls(DefineCalls, LifecycleCalls, TakingIn):
    """Calls that make domains appear and disappear."""

    async def domain_create_xml(self, xml_desc: str, flags: int) -> NonnullDomain:
        """Start a transient domain, or an inactive persistent one with another definition this time."""
        self.check_flags(flags, CREATE_FLAGS, "DomainCreateXML")
        world = self.world
        validate = bool(flags & c.VIR_DOMAIN_START_VALIDATE)
        parsed: Deferred[Any] = maybeDeferred(_parse, world.definitions, xml_desc, validate)
        definition = await parsed
        known = world.by_uuid.get(definition.uuid)
        if known is not None and known.active:
            raise OperationInvalid(f"domain '{known.name}' is already active", domain=c.VIR_FROM_DOMAIN)
        async with self.taken_in(definition, "remoteDispatchDomainCreateXML") as record:
            await start(
                world,
                record,
                BOOT,
                paused=bool(flags & c.VIR_DOMAIN_START_PAUSED),
                autodestroy=bool(flags & c.VIR_DOMAIN_START_AUTODESTROY),
                reset_nvram=bool(flags & c.VIR_DOMAIN_START_RESET_NVRAM),
            )
            if flags & c.VIR_DOMAIN_START_AUTODESTROY:
                self.destroy_at_close(record)
        return record.ref

    async def domain_create_xml_with_files(
        self, xml_desc: str, flags: int, files: Sequence[int]
    ) -> NonnullDomain:
        """As domain_create_xml; descriptors are for containers, QEMU takes none."""
        if files:
            text = "passing descriptors to a new domain is not supported by QEMU"
            raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
        return await self.domain_create_xml(xml_desc, flags)

    def check_renamable(self, record: DomainRecord) -> None:
        """Refuse to rename a domain whose memory is saved: the saved document has the old name."""
        if record.managed_save:
            text = "domain with a managed saved state can't be renamed"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)

    async def domain_undefine(self, dom: NonnullDomain) -> None:
        """Undefine a domain; a running one becomes transient."""
        await self.domain_undefine_flags(dom, 0)

    async def domain_undefine_flags(self, dom: NonnullDomain, flags: int) -> None:
        """Undefine a domain, and with flags its saved memory and firmware's variables too."""
        self.check_flags(flags, UNDEFINE_FLAGS, "DomainUndefineFlags")
        nvram, keep = c.VIR_DOMAIN_UNDEFINE_NVRAM, c.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
        if flags & nvram and flags & keep:
            text = "cannot both keep and delete nvram"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)
        world, record = self.world, self.record(dom)
        self._check_undefinable(record, flags)
        path = variables_path(record.persistent_definition, world.settings)
        if path is not None:
            place = os.path.dirname(path)
            there = await in_thread(place, lambda stop: os.path.exists(path))
            if there and not flags & (nvram | keep):
                raise OperationInvalid("cannot undefine domain with nvram", domain=c.VIR_FROM_QEMU)
            if there and flags & nvram:
                await in_thread(place, lambda stop: remove_variables(path, world.settings))
            self.still(record)
            self._check_undefinable(record, flags)
        saved = record.managed_save
        world.commit(self._undefine, record)
        if saved:
            await remove_managed(world, record)

    @staticmethod
    def _check_undefinable(record: QemuRecord, flags: int) -> None:
        if not record.persistent:
            raise OperationInvalid("cannot undefine transient domain", domain=c.VIR_FROM_QEMU)
        if record.managed_save and not flags & c.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE:
            text = "Refusing to undefine while domain managed save image exists"
            raise OperationInvalid(text, domain=c.VIR_FROM_QEMU)

    def _undefine(self, record: QemuRecord) -> None:
        world = self.world
        world.set_managed_save(record, False)
        world.publish(record, c.VIR_DOMAIN_EVENT_UNDEFINED, c.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
        if record.active:
            world.set_persistent(record, False)
            world.set_autostart(record, False)
        else:
            world.remove(record)
