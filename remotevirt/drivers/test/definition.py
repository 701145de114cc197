"""Definitions of the test hypervisor's domains."""

from __future__ import annotations

from typing import ClassVar, Self

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.test.runstate import NAMESPACE, read_run_state
from remotevirt.stubs import constants as c
from remotevirt.xml.domain import DomainDefaults
from remotevirt.xml.parse import parse_document

__all__ = ["TestDefinition"]


class TestDefinition(Definition):
    """A definition to which the test hypervisor adds what libvirt's adds."""

    __slots__ = ()

    DEFAULTS: ClassVar[DomainDefaults] = DomainDefaults()
    ERRORS = c.VIR_FROM_TEST

    @classmethod
    def parse(cls, text: str, *, validate: bool = False) -> Self:
        """As for all; what it says of its state must make sense, although only node files use it."""
        definition = super().parse(text, validate=validate)
        if NAMESPACE in text:
            read_run_state(parse_document(text, root="domain", source="(domain_definition)"))
        return definition
