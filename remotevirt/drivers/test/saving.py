"""Domains that are saved, and run on later: managed save, files of the client's choice, dumps.

A saved domain is off, with the reason "saved". Where the daemon keeps its state (managed save), the next
start is that of any domain, as in libvirt's test driver; where a file has it, a restore starts the domain.
"""

from __future__ import annotations

from typing import Final

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import argument_error, both_flags, check_flags
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.drivers.test.saved_file import load, store, store_dump
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, OperationInvalid, OperationUnsupported
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["SavingCalls"]

RUNNING: Final[int] = c.VIR_DOMAIN_SAVE_RUNNING
PAUSED: Final[int] = c.VIR_DOMAIN_SAVE_PAUSED
MANAGED_FLAGS: Final[int] = c.VIR_DOMAIN_SAVE_BYPASS_CACHE | RUNNING | PAUSED

CRASH: Final[int] = c.VIR_DUMP_CRASH
EXCLUSIVE_DUMPS: Final = (
    ("VIR_DUMP_CRASH", "VIR_DUMP_LIVE"),
    ("VIR_DUMP_CRASH", "VIR_DUMP_RESET"),
    ("VIR_DUMP_LIVE", "VIR_DUMP_RESET"),
)


class SavingCalls(DomainCalls):
    """Calls that save domains and restore them."""

    def domain_managed_save(self, dom: NonnullDomain, flags: int) -> None:
        """Stop a persistent domain and remember that its state was saved."""
        _check_state(flags, "virDomainManagedSave")
        check_flags(flags, MANAGED_FLAGS, "testDomainManagedSave")
        record = self.active(dom)
        if not record.persistent:
            text = "cannot do managed save for transient domain"
            raise OperationInvalid(text, domain=c.VIR_FROM_TEST)
        self.world.stop(record, c.VIR_DOMAIN_SHUTOFF_SAVED)
        self.world.publish(record, c.VIR_DOMAIN_EVENT_STOPPED, c.VIR_DOMAIN_EVENT_STOPPED_SAVED)
        self.world.set_managed_save(record, True)

    def domain_has_managed_save_image(self, dom: NonnullDomain, flags: int) -> int:
        """Return 1 if a domain's state was saved."""
        check_flags(flags, 0, "testDomainHasManagedSaveImage")
        return int(self.record(dom).managed_save)

    def domain_managed_save_remove(self, dom: NonnullDomain, flags: int) -> None:
        """Forget a domain's saved state."""
        check_flags(flags, 0, "testDomainManagedSaveRemove")
        self.world.set_managed_save(self.record(dom), False)

    def domain_save(self, dom: NonnullDomain, to: str) -> None:
        """Write a domain into a file, and stop it."""
        self.domain_save_flags(dom, to, None, 0)

    def domain_save_flags(self, dom: NonnullDomain, to: str, dxml: str | None, flags: int) -> None:
        """As domain_save; libvirt 9.0.0's test driver knows no flag, and changes no XML on the way."""
        _check_state(flags, "virDomainSaveFlags")
        check_flags(flags, 0, "testDomainSaveFlags")
        _refuse_change(dxml)
        record = self.active(dom)
        xml = record.live.format(c.VIR_DOMAIN_XML_SECURE, record.id)
        store(self.files, to, xml, f"saving domain '{record.name}'")
        reason, detail = c.VIR_DOMAIN_SHUTOFF_SAVED, c.VIR_DOMAIN_EVENT_STOPPED_SAVED
        self.world.stop_and_tell(record, reason, detail)

    def domain_restore(self, from_: str) -> None:
        """Start the domain in a file."""
        self.domain_restore_flags(from_, None, 0)

    def domain_restore_flags(self, from_: str, dxml: str | None, flags: int) -> None:
        """As domain_restore; libvirt 9.0.0's test driver knows no flag, and changes no XML on the way."""
        _check_state(flags, "virDomainRestoreFlags")
        check_flags(flags, 0, "testDomainRestoreFlags")
        _refuse_change(dxml)
        world = self.world
        record, _ = world.assign(load(self.files, from_), live=True)
        world.start(record, c.VIR_DOMAIN_RUNNING_RESTORED)
        world.publish(record, c.VIR_DOMAIN_EVENT_STARTED, c.VIR_DOMAIN_EVENT_STARTED_RESTORED)

    def domain_save_image_get_xml_desc(self, file: str, flags: int) -> str:
        """Return the document of the domain in a file."""
        check_flags(flags, c.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE, "testDomainSaveImageGetXMLDesc")
        definition = load(self.files, file)
        secure = flags & c.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE
        return definition.format(c.VIR_DOMAIN_XML_SECURE if secure else 0, -1)

    def domain_save_image_define_xml(self, file: str, dxml: str, flags: int) -> None:
        """Change the document of the domain in a file."""
        _check_state(flags, "virDomainSaveImageDefineXML")
        check_flags(flags, RUNNING | PAUSED, "testDomainSaveImageDefineXML")
        load(self.files, file)
        definition = TestDefinition.parse(dxml)
        xml = definition.format(c.VIR_DOMAIN_XML_SECURE, -1)
        store(self.files, file, xml, f"saving domain '{definition.name}'")

    def domain_core_dump(self, dom: NonnullDomain, to: str, flags: int) -> None:
        """Write a domain's memory into a file; with VIR_DUMP_CRASH the domain is gone afterwards."""
        _check_dump(flags, "virDomainCoreDump")
        self._dump(dom, to, c.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW, flags)

    def domain_core_dump_with_format(self, dom: NonnullDomain, to: str, dumpformat: int, flags: int) -> None:
        """As domain_core_dump; of the formats there is only the raw one."""
        function = "virDomainCoreDumpWithFormat"
        if dumpformat >= c.VIR_DOMAIN_CORE_DUMP_FORMAT_LAST:
            raise argument_error(function, "flags", f"dumpformat '{dumpformat}' is not supported")
        _check_dump(flags, function)
        self._dump(dom, to, dumpformat, flags)

    def _dump(self, dom: NonnullDomain, to: str, dumpformat: int, flags: int) -> None:
        """Write a dump."""
        check_flags(flags, CRASH, "testDomainCoreDumpWithFormat")
        record = self.active(dom)
        if dumpformat != c.VIR_DOMAIN_CORE_DUMP_FORMAT_RAW:
            text = "kdump-compressed format is not supported here"
            raise OperationUnsupported(text, domain=c.VIR_FROM_TEST)
        store_dump(self.files, to, record.name)
        if flags & CRASH:
            reason, detail = c.VIR_DOMAIN_SHUTOFF_CRASHED, c.VIR_DOMAIN_EVENT_STOPPED_CRASHED
            self.world.stop_and_tell(record, reason, detail)


def _check_state(flags: int, function: str) -> None:
    """Refuse to let a domain run on and pause it; raises InvalidArg."""
    if flags & RUNNING and flags & PAUSED:
        raise both_flags(function, "VIR_DOMAIN_SAVE_RUNNING", "VIR_DOMAIN_SAVE_PAUSED")


def _check_dump(flags: int, function: str) -> None:
    """Refuse flags that exclude each other; raises InvalidArg."""
    for first, second in EXCLUSIVE_DUMPS:
        if flags & getattr(c, first) and flags & getattr(c, second):
            raise both_flags(function, first, second)


def _refuse_change(dxml: str | None) -> None:
    """Refuse XML that would change what is saved or restored; raises ArgumentUnsupported."""
    if dxml is not None:
        raise ArgumentUnsupported("xml modification unsupported", domain=c.VIR_FROM_TEST)
