"""The targets of ``make fuzz`` on inputs that are always the same: corpus, seeds, and changes of them."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS
from tests.seeds import mutate

CORPUS = Path(__file__).parent / "corpus"

ROUNDS = int(os.environ.get("ABUSE_ROUNDS", "1"))

MUTATIONS = {"frames": 2000, "codecs": 4000, "dispatch": 300, "documents": 800, "sasl": 300}
"""Inputs made by chance, of each target."""


class FuzzTests(SynchronousTestCase):
    """One test for each target; what made it fail is in the message."""

    def try_target(self, name: str) -> None:
        """Try a target on everything."""
        target = TARGETS[name]
        known = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
        known += seeds(name)
        random = Random(name)
        count = MUTATIONS[name] * ROUNDS
        inputs = [*known, *(mutate(random.choice(known), random) for _ in range(count))]
        for data in inputs:
            try:
                target(data)
            except Exception as error:
                raise AssertionError(f"{name} fails on {data!r:.2000}") from error
        self.assertGreater(len(inputs), count)

    def test_frames(self) -> None:
        """The frame reader."""
        self.try_target("frames")

    def test_codecs(self) -> None:
        """Every generated codec."""
        self.try_target("codecs")

    def test_dispatch(self) -> None:
        """A daemon in this process."""
        self.try_target("dispatch")

    def test_documents(self) -> None:
        """Every reader of documents."""
        self.try_target("documents")

    def test_sasl(self) -> None:
        """SASL, where it is there."""
        for name in TARGETS.keys() & {"sasl"}:
            self.try_target(name)
        self.assertIn("frames", TARGETS)
