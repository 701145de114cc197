"""Validation against libvirt's schemas."""

from __future__ import annotations

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.xml import schema

SCHEMA = schema.SCHEMAS / "domaincheckpoint.rng"


class SchemaTests(SynchronousTestCase):
    """validate_document."""

    if not SCHEMA.exists():
        skip = "libvirt's schemas are not installed"

    def refused(self, text: str) -> VirError:
        """Return the error for a checkpoint's document."""
        error = self.assertRaises(VirError, schema.validate_document, etree.fromstring(text), SCHEMA)
        assert isinstance(error, VirError)
        return error

    def test_fits(self) -> None:
        """What fits is let through, what does not is told in libxml2's words."""
        text = "<domaincheckpoint><name>{}</name></domaincheckpoint>"
        schema.validate_document(etree.fromstring(text.format("a")), SCHEMA)
        error = self.refused(text.format("a/b"))
        self.assertEqual(error.code, 92)
        self.assertIn("Extra element name in interleave\n", error.message)

    def test_too_large(self) -> None:
        """A document that would take many seconds is refused, whatever is in it."""
        self.patch(schema, "MAX_VALIDATED", 10)
        text = "<domaincheckpoint><disks>{}</disks></domaincheckpoint>"
        disk = "<disk name='vda'/>"
        schema.validate_document(etree.fromstring(text.format(disk * 8)), SCHEMA)
        error = self.refused(text.format(disk * 9))
        self.assertEqual(error.detail, "a document of more than 10 elements is not validated")
