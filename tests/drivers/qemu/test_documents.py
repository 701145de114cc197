"""Documents come to what libvirt's QEMU driver makes of them, to the byte, or to the error that it gives."""

from __future__ import annotations

from typing import Any, Final

from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.documents import definitions_for
from remotevirt.errors import VirError
from tests.drivers.qemu.recorded import recorded_documents, recorded_emulators

KNOWN_DIFFERENCES: Final = frozenset(
    [
        # buses of POWER, which this driver does not run
        "scsi ibmvscsi",
        "nic spapr-vlan",
    ]
)
"""Documents of which libvirt makes something else."""

Definition = definitions_for(recorded_emulators(), arch="x86_64")


def answer(text: str) -> str | list[Any]:
    """What a document comes to, in the form of the recorded answers."""
    try:
        return Definition.parse(text).format(0, -1)
    except VirError as error:
        return [int(error.code), int(error.domain), str(error.message)]


class RefusalTests(TestCase):
    """What this driver refuses and libvirt does not."""


class LimitTests(TestCase):
    """Documents that ask for more than there can be."""

    def refused(self, devices: str, machine: str = "q35") -> str:
        """What a guest with such devices is told."""
        text = (
            "<domain type='qemu'><name>g</name><memory>65536</memory>"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
            f"<devices>{devices}</devices></domain>"
        )
        code, _, message = list(answer(text))
        self.assertIn(code, {1, 27})
        return str(message)

    def test_numbers_of_buses(self) -> None:
        """A controller's number makes no more buses than a guest can have."""
        said = self.refused("<controller type='pci' index='2000000000' model='pcie-root-port'/>")
        self.assertIn("a PCI slot is needed", said)

    def test_too_many_devices(self) -> None:
        """Slots end, on the old PC and on the new one, and so do ports of USB."""
        rng = "<rng model='virtio'><backend model='random'/></rng>"
        for machine in ("pc", "q35"):
            self.assertIn("a PCI slot is needed", self.refused(1000 * rng, machine))
        self.assertIn("No free USB ports", self.refused(1000 * "<input type='tablet' bus='usb'/>"))


class RecordedTests(TestCase):
    """All documents that were recorded."""

    maxDiff = None

    def test_answers(self) -> None:
        """Each is answered as libvirt answers it."""
        different = []
        for about, text, expected in recorded_documents():
            if answer(text) != expected:
                different.append(about)
        self.assertEqual(sorted(different), sorted(KNOWN_DIFFERENCES))

    def test_read_again(self) -> None:
        """What was completed once stays as it is when it is read again, as a restarted daemon does."""
        for about, _, expected in recorded_documents():
            if isinstance(expected, str) and about not in KNOWN_DIFFERENCES:
                self.assertEqual(answer(expected), answer(str(answer(expected))), about)
