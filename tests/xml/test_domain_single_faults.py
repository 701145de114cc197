"""One thing wrong, or merely odd, in a document: what libvirt 9.0.0's test driver made of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainDefaults, parse_domain

DEFAULTS = DomainDefaults()
CELL = "<vcpu>2</vcpu><cpu><numa><cell id='0' cpus='0-1' memory='65536'/></numa></cpu>"
FEATURE = "<os{}><firmware><feature {}/></firmware><type>hvm</type></os>"


def document(extra: str = "", os: str = "<os><type>hvm</type></os>", name: str = "z") -> str:
    """Return a document."""
    return f"<domain type='test'><name>{name}</name><memory>65536</memory>{os}{extra}</domain>"


def numa(text: str) -> str:
    """Return a document with a cell, and with something about the memory of cells."""
    return document(f"<numatune>{text}</numatune>{CELL}")


def page(text: str) -> str:
    """Return a document with a largest page."""
    return document(f"<features><hpt>{text}</hpt></features>")


REFUSED = (
    (document(os="<os/>", name="a\nb"), "an os <type> must be specified"),
    (document(name="a\nb"), "invalid char in name: \n"),
    (page("<maxpagesize unit='x'>5</maxpagesize>"), "Unable to parse HPT maxpagesize setting"),
    (page("<maxpagesize>x</maxpagesize>"), "Unable to parse HPT maxpagesize setting"),
    (document(os=FEATURE.format(" firmware='efi'", "")), "required attribute 'name' in element 'feature'"),
    (document(os=FEATURE.format(" firmware='x'", "name='y'")), "'name' in element 'feature': 'y'."),
    (numa("<memnode cellid='0' mode='q' nodeset='0'/>"), "'mode' in element 'memnode': 'q'."),
    (numa("<memnode cellid='3' nodeset='0'/>"), "must correspond to existing guest's NUMA cell"),
    (
        numa("<memory mode='restrictive' nodeset='0'/><memnode cellid='0' nodeset='0'/>"),
        "'restrictive' mode is required in memnode element when mode is 'restrictive' in memory element",
    ),
    (
        document("<clock offset='utc'><timer name='rtc'><catchup limit='3'/></timer></clock>"),
        "setting of timer catchup policies is only supported with tickpolicy='catchup'",
    ),
)


class SingleFaultTests(SynchronousTestCase):
    """Documents and what is said of them."""

    def test_refused(self) -> None:
        """What is wrong is named as there."""
        for text, words in REFUSED:
            error = self.assertRaises(VirError, parse_domain, text, defaults=DEFAULTS)
            self.assertIn(words, str(error.message))

    def test_taken(self) -> None:
        """What says nothing, or is of interest to nobody, is no fault."""
        silent = "<clock offset='utc'><timer name='rtc'><catchup slew='0'/></timer></clock>"
        for text in (document(silent), document(os=FEATURE.format("", "name='x' enabled='q'"))):
            self.assertEqual(parse_domain(text, defaults=DEFAULTS).name, "z")
