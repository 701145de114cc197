"""The domain document against what libvirt 9.0.0's test driver answered: prints and errors, byte for byte.

``record.py`` beside this file makes the answers. Where remotevirt differs on purpose it says so here.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.stubs.constants import (
    VIR_DOMAIN_XML_INACTIVE,
    VIR_DOMAIN_XML_MIGRATABLE,
    VIR_DOMAIN_XML_SECURE,
)
from remotevirt.stubs.errors import InternalError, XmlInvalidSchema
from remotevirt.xml.domain import DomainDefaults, format_domain, parse_domain
from remotevirt.xml.parse import parse_fragment
from remotevirt.xml.schema import SCHEMAS, validate_document
from tests.xml.record import framed, shown

DATA = Path(__file__).parent / "data"
DEFAULTS = DomainDefaults()

BETTER = {
    "<resource/>",
    "<resource><partition/></resource>",
    "<resource><fibrechannel/></resource>",
    "<lease><key>k</key></lease>",
    "<lease><key>k</key><target/></lease>",
    "<lease><key>k</key><target path='/p'/></lease>",
    "<lease><key>k</key><target path='/p' offset='x'/></lease>",
}
"""What libvirt refuses with "An error occurred, but the cause is unknown"; we refuse it and say why."""


def answer(document: str) -> dict[str, Any]:
    """What we answer, in the form of the tables."""
    try:
        return {"prints": format_domain(parse_domain(document, defaults=DEFAULTS), id=None, flags=0)}
    except VirError as error:
        return {"error": [error.code, error.domain, error.message]}


class WholeDocuments(SynchronousTestCase):
    """Documents with many devices."""

    def test_prints_as_libvirt(self) -> None:
        """Every document is printed as libvirt prints it."""
        names = [path for path in sorted(DATA.glob("*.xml")) if not path.name.endswith(".expected.xml")]
        self.assertGreater(len(names), 15)
        for path in names:
            expected = path.with_name(f"{path.stem}.expected.xml").read_text()
            model = parse_domain(path.read_text(), defaults=DEFAULTS)
            self.assertEqual(format_domain(model, id=None, flags=0), expected, path.name)

    def test_prints_again(self) -> None:
        """What was printed is read and printed again unchanged: completing is done once."""
        for path in sorted(DATA.glob("*.expected.xml")):
            if path.name.startswith(("disks1.", "display.")):
                # Disks are put in order by the buses that were given, and what goes with a password is lost
                # with it: there the second time differs.
                continue
            expected = path.read_text()
            again = format_domain(parse_domain(expected, defaults=DEFAULTS), id=None, flags=0)
            self.assertEqual(again, expected, path.name)

    def test_running(self) -> None:
        """A running guest is printed with its id, and without it where the inactive form is wanted."""
        path = DATA / "display"
        model = parse_domain(path.with_suffix(".xml").read_text(), defaults=DEFAULTS)
        expected = path.with_name("display.expected.xml").read_text()
        self.assertEqual(
            format_domain(model, id=7, flags=0),
            expected.replace("<domain type='test'>", "<domain type='test' id='7'>"),
        )
        self.assertEqual(format_domain(model, id=7, flags=VIR_DOMAIN_XML_INACTIVE), expected)

    def test_passwords(self) -> None:
        """Passwords are printed only where they are asked for."""
        model = parse_domain((DATA / "display.xml").read_text(), defaults=DEFAULTS)
        self.assertNotIn("passwd='pw'", format_domain(model, id=None, flags=0))
        self.assertIn("passwd='pw'", format_domain(model, id=None, flags=VIR_DOMAIN_XML_SECURE))

    def test_migratable(self) -> None:
        """An old libvirt is not told of a socket twice."""
        model = parse_domain((DATA / "display.xml").read_text(), defaults=DEFAULTS)
        self.assertIn("<listen type='socket'", format_domain(model, id=None, flags=0))
        self.assertNotIn(
            "<listen type='socket'", format_domain(model, id=None, flags=VIR_DOMAIN_XML_MIGRATABLE)
        )


class Tables(SynchronousTestCase):
    """Small parts of documents, right and wrong."""

    def check(self, name: str, least: int) -> None:
        """Compare all cases of a table."""
        table = json.loads((DATA / f"{name}.json").read_text())
        frame, cases = table["frame"], table["cases"]
        self.assertGreater(len(cases), least)
        differing = []
        for case in cases:
            ours = answer(framed(frame, case["xml"]))
            if "prints" in ours:
                ours["prints"] = shown(frame, ours["prints"])
            if case["xml"] in BETTER:
                self.assertEqual(ours["error"][0], 27)
            elif ours != {key: value for key, value in case.items() if key != "xml"}:
                differing.append({"ours": ours, "theirs": case})
        self.assertEqual(differing, [])

    def test_documents(self) -> None:
        """Syntax errors, and what makes a document a domain."""
        self.check("documents", 100)

    def test_general(self) -> None:
        """All that is not a device."""
        self.check("general", 250)

    def test_disks(self) -> None:
        """Disks and their sources."""
        self.check("disks", 150)

    def test_interfaces(self) -> None:
        """Network cards."""
        self.check("interfaces", 100)

    def test_characters(self) -> None:
        """Serial ports, consoles, channels, smart cards, redirection."""
        self.check("characters", 100)

    def test_media(self) -> None:
        """Screens, sound, keyboards and mice."""
        self.check("media", 150)

    def test_others(self) -> None:
        """Controllers, file systems, host devices and the small ones."""
        self.check("others", 200)

    def test_repeated(self) -> None:
        """Elements that are given twice, and values that libvirt takes against its own schema."""
        self.check("repeated", 200)

    def test_device_rules(self) -> None:
        """What of a device is looked at first, and what of it goes together."""
        self.check("device_rules", 50)

    def test_domain_rules(self) -> None:
        """The same of CPUs, threads, memory and containers."""
        self.check("domain_rules", 20)

    def test_firmware_rules(self) -> None:
        """Firmware that is named, chosen, and told where its variables are."""
        self.check("firmware_rules", 10)


class Validation(SynchronousTestCase):
    """Documents held to libvirt's schema, where the caller asks for it."""

    if not (SCHEMAS / "domain.rng").exists():
        skip = "libvirt's schemas are not installed"

    def test_unknown_element(self) -> None:
        """What is dropped without validation is refused with it, in libvirt's words."""
        document = framed("domain", "<frobnicate level='3'/>")
        parse_domain(document, defaults=DEFAULTS)
        error = self.assertRaises(XmlInvalidSchema, parse_domain, document, defaults=DEFAULTS, validate=True)
        self.assertEqual((error.code, error.domain), (92, 5))
        self.assertEqual(
            error.message,
            "XML document failed to validate against schema: Unable to validate doc against "
            f"{SCHEMAS}/domain.rng\nElement domain has extra content: frobnicate\n",
        )

    def test_good_document(self) -> None:
        """A document that fits is read as ever."""
        model = parse_domain(framed("domain", "<vcpu>2</vcpu>"), defaults=DEFAULTS, validate=True)
        self.assertEqual((model.vcpus, model.maxvcpus), (2, 2))


class NoSchema(SynchronousTestCase):
    """A machine without libvirt's schemas."""

    def test_missing(self) -> None:
        """Nothing is accepted as valid that could not be validated."""
        element = parse_fragment("<domain/>", source="(x)")
        error = self.assertRaises(InternalError, validate_document, element, Path("/nonexistent/domain.rng"))
        self.assertIn("Unable to parse RNG", error.message)


class MadeUp(SynchronousTestCase):
    """What is made up where a document does not say."""

    def test_uuid_and_mac(self) -> None:
        """UUIDs are of version 4, MAC addresses have the driver's prefix, and both come from the defaults."""
        counter = itertools.count()
        defaults = DomainDefaults(random=lambda size: bytes([next(counter)]) * size)
        model = parse_domain(
            "<domain type='test'><name>x</name><memory>1</memory><os><type>hvm</type></os><genid/>"
            "<devices><interface type='user'/></devices></domain>",
            defaults=defaults,
        )
        self.assertEqual(model.uuid, bytes.fromhex("00000000000040008000000000000000"))
        self.assertEqual(model.genid, bytes.fromhex("01010101010141018101010101010101"))
        self.assertIn("<mac address='52:54:00:02:02:02'/>", format_domain(model, id=None, flags=0))
        self.assertIn("<target dev='testnet0'/>", format_domain(model, id=None, flags=0))

    def test_no_interface_names(self) -> None:
        """A driver may leave network cards without names."""
        model = parse_domain(
            "<domain type='test'><name>x</name><memory>1</memory><os><type>hvm</type></os>"
            "<devices><interface type='user'/></devices></domain>",
            defaults=DomainDefaults(interface_prefix=None, arch="aarch64", emulator="/bin/emu"),
        )
        printed = format_domain(model, id=None, flags=0)
        self.assertNotIn("<target", printed)
        self.assertIn("<type arch='aarch64'>hvm</type>", printed)
        self.assertIn("<emulator>/bin/emu</emulator>", printed)

    def test_copy_is_apart(self) -> None:
        """A copy is equal and shares nothing that can change."""
        model = parse_domain((DATA / "general.xml").read_text(), defaults=DEFAULTS)
        before = format_domain(model, id=None, flags=0)
        twin = model.copy()
        self.assertEqual(format_domain(twin, id=None, flags=0), before)
        twin.name = "other"
        twin.os.boot.clear()
        assert twin.cputune is not None and twin.features is not None and twin.features.hyperv is not None
        twin.cputune.vcpupin[0].cpuset = "7"
        twin.features.hyperv.relaxed = False
        self.assertEqual(format_domain(model, id=None, flags=0), before)
