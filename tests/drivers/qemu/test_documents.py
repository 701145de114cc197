"""Documents come to what libvirt's QEMU driver makes of them, to the byte, or to the error that it gives."""

from __future__ import annotations

from typing import Any, Final

from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.documents import definitions_for
from remotevirt.errors import VirError
from tests.drivers.qemu.recorded import recorded_documents, recorded_emulators

KNOWN_DIFFERENCES: Final = frozenset(
    [
        # libvirt picks another of the many ARM machines where the document names none and QEMU has no default
        "minimal aarch64 no machine",
        # the schema of this release names what its reader refuses
        "panic model pvpanic",
        "net passt",
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
