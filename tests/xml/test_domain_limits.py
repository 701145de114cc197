"""Documents that ask for more than they are: all is bounded before anything is made of it."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainDefaults, format_domain, parse_domain
from remotevirt.xml.domain.backing import MAX_BACKING
from remotevirt.xml.domain.document import MAX_DEVICES
from remotevirt.xml.network import parse_network
from tests.xml.record import framed

DEFAULTS = DomainDefaults()
SECONDS = 5.0
"""Far more than any of these takes, and far less than any took before it was bounded."""


class Limits(SynchronousTestCase):
    """One small document, a large demand."""

    def refused(self, frame: str, part: str, words: str) -> None:
        """Assert that a part of a document is refused, and soon."""
        started = time.monotonic()
        error = self.assertRaises(VirError, parse_domain, framed(frame, part), defaults=DEFAULTS)
        self.assertIn(words, error.message)
        self.assertLess(time.monotonic() - started, SECONDS)

    def test_numbers(self) -> None:
        """Numbers that would be lists."""
        for part, words in (
            ("<vcpu>4294967295</vcpu>", "maximum vcpus count must be an integer"),
            ("<vcpu>-1</vcpu>", "maximum vcpus count must be an integer"),
            ("<vcpu>999999</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus>", "cannot be listed"),
            ("<iothreads>4294967295</iothreads>", "invalid iothreads count"),
            ("<vcpu cpuset='0-999999999'>1</vcpu>", "Failed to parse bitmap"),
            ("<cpu><numa>" + "<cell memory='1'/>" * 2000 + "</numa></cpu>", "NUMA cells"),
        ):
            self.refused("domain", part, words)

    def test_controllers(self) -> None:
        """A device far out on a bus would call a controller for every number before it into being."""
        address = "<address type='drive' controller='4294967295'/>"
        disk = f"<disk><source file='/a'/><target dev='sda'/>{address}</disk>"
        self.refused("devices", disk, "too large")

    def test_devices(self) -> None:
        """There are only so many, and those that are allowed are read in time."""
        self.refused("devices", "<hub type='usb'/>" * (MAX_DEVICES + 1), "devices")
        started = time.monotonic()
        for device in (
            "<hostdev type='scsi'><source><adapter name='a'/><address bus='0' target='0' unit='{0}'/>"
            "</source></hostdev>",
            "<controller type='scsi'/>",
            "<serial type='pty'/>",
            "<channel type='pty'><target type='virtio'/></channel>",
            "<interface type='user'/>",
        ):
            written = "".join(device.format(number) for number in range(MAX_DEVICES - 1))
            model = parse_domain(framed("devices", written), defaults=DEFAULTS)
            self.assertIn("<devices>", format_domain(model, id=None, flags=0))
        self.assertLess(time.monotonic() - started, 5 * SECONDS)

    def test_sets(self) -> None:
        """Many large sets."""
        sets = "<iothreadsched iothreads='0-16383' scheduler='idle'/>" * 20000
        self.refused("domain", f"<cputune>{sets}</cputune>", "Cannot find 'iothread' : 0")

    def test_chain(self) -> None:
        """A backing chain is no deeper than any document, and not so deep that reading it fails."""
        link = "<backingStore type='file'><format type='raw'/><source file='/a'/>"
        disk = f"<disk><source file='/a'/>{link * 300}{'</backingStore>' * 300}<target dev='vda'/></disk>"
        self.refused("devices", disk, "Excessive depth")
        longest = "<disk><source file='/a'/>{}<target dev='vda'/></disk>"
        chain = link * (MAX_BACKING + 1) + "</backingStore>" * (MAX_BACKING + 1)
        self.refused("devices", longest.format(chain), "is based on more than")
        chain = link * MAX_BACKING + "</backingStore>" * MAX_BACKING
        model = parse_domain(framed("devices", longest.format(chain)), defaults=DEFAULTS)
        self.assertEqual(
            format_domain(model.copy(), id=None, flags=0).count("<backingStore type"), MAX_BACKING
        )

    def test_ways_out(self) -> None:
        """Twenty thousand ways out of a network are compared with one another in time."""
        ways = "".join(f"<interface dev='e{number}'/>" for number in range(20_000))
        started = time.monotonic()
        text = "<network><name>n</name><forward mode='private'>{}</forward></network>"
        self.assertEqual(len(parse_network(text.format(ways)).forward.interfaces), 20_000)
        error = self.assertRaises(VirError, parse_network, text.format(ways + "<interface dev='e7'/>"))
        self.assertIn("can only be listed once", error.message)
        self.assertLess(time.monotonic() - started, 2 * SECONDS)
