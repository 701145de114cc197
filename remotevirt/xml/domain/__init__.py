"""The domain document: reading it, completing it, and printing it as libvirt does.

``parse_domain`` turns a document into a :class:`DomainModel` or raises a VirError with libvirt's words;
``format_domain`` prints it, byte for byte as ``virsh dumpxml`` shows it for libvirt's test driver.
"""

from __future__ import annotations

from remotevirt.stubs.constants import (
    VIR_DOMAIN_XML_INACTIVE,
    VIR_DOMAIN_XML_MIGRATABLE,
    VIR_DOMAIN_XML_SECURE,
)
from remotevirt.xml.domain.commandline import add_command_line, read_command_line
from remotevirt.xml.domain.complete import DomainDefaults, complete_domain
from remotevirt.xml.domain.complete_devices import sorted_controllers, sorted_disks
from remotevirt.xml.domain.document import Devices, DomainModel
from remotevirt.xml.fields import Printing, Reading
from remotevirt.xml.parse import Element, parse_document
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.write import render

__all__ = [
    "Devices",
    "DomainDefaults",
    "DomainModel",
    "copy_domain",
    "format_domain",
    "parse_domain",
    "read_domain",
]


def parse_domain(
    text: str, *, defaults: DomainDefaults, validate: bool = False, live: bool = False
) -> DomainModel:
    """Read a domain document and fill in what it leaves out.

    Args:
        text: the document.
        defaults: what the driver adds.
        validate: refuse what the schema does not know, where it would else be dropped.
        live: the document describes a running guest: keep aliases and the like.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    root = parse_document(text, root="domain", source="(domain_definition)")
    if validate:
        validate_document(root, SCHEMAS / "domain.rng")
    return read_domain(root, defaults=defaults, live=live)


def read_domain(root: Element, *, defaults: DomainDefaults, live: bool = False) -> DomainModel:
    """As :func:`parse_domain`, of an element that stands in another document."""
    model = DomainModel.read(root, Reading(live=live))
    if defaults.reads_command_line:
        model.commandline = read_command_line(root)
    complete_domain(model, defaults, genid=root.find("genid") is not None)
    return model


def copy_domain(model: DomainModel) -> DomainModel:
    """A copy that shares nothing that can change.

    libvirt copies by printing and reading again, which puts disks whose bus was only made up in reading, and
    controllers that were added after it, in their places, beside the others of their kind.
    """
    copy = model.copy()
    copy.devices.disks = sorted_disks(copy.devices.disks)
    copy.devices.controllers = sorted_controllers(copy.devices.controllers)
    return copy


def format_domain(model: DomainModel, *, id: int | None, flags: int) -> str:
    """Print a domain, with a line end after it.

    Args:
        model: the configuration to print: the live or the persistent one, as the caller chose.
        id: of the running guest; None or negative if it does not run.
        flags: virDomainXMLFlags; VIR_DOMAIN_XML_SECURE, _INACTIVE and _MIGRATABLE count.
    """
    how = Printing(
        secure=bool(flags & VIR_DOMAIN_XML_SECURE),
        inactive=bool(flags & VIR_DOMAIN_XML_INACTIVE) or id is None or id < 0,
        migratable=bool(flags & VIR_DOMAIN_XML_MIGRATABLE),
    )
    tag = model.element(how)
    if id is not None and id >= 0 and not flags & VIR_DOMAIN_XML_INACTIVE:
        tag.attributes.insert(1, ("id", str(id)))
    if model.commandline is not None:
        add_command_line(tag, model.commandline)
    return render(tag)
