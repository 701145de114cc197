"""Of several faults in a domain's document the one that libvirt 9.0.0 reports is reported."""

from __future__ import annotations

import itertools
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainDefaults, parse_domain
from tests.xml.record_faults import FAULTS, together

DEFAULTS = DomainDefaults()


class FaultTests(SynchronousTestCase):
    """A hundred faults, alone and in pairs."""

    def setUp(self) -> None:
        self.faults: list[tuple[str, str, list[Any]]] = json.loads(FAULTS.read_text())

    def error(self, *faults: tuple[str, str, list[Any]]) -> list[Any]:
        """Return the error that a document with some faults gets."""
        error = self.assertRaises(VirError, parse_domain, together(*faults), defaults=DEFAULTS)
        return [error.code, error.domain, error.message]

    def test_alone(self) -> None:
        """Each fault is named in libvirt's words."""
        self.assertGreater(len(self.faults), 100)
        for fault in self.faults:
            self.assertEqual(self.error(fault), fault[2], fault[1])

    def test_in_pairs(self) -> None:
        """Of two faults the one that libvirt finds first is named."""
        for first, second in itertools.combinations(self.faults, 2):
            self.assertEqual(self.error(first, second), first[2], together(first, second))
