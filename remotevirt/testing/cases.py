"""Test cases for trial and unittest that bring a fake libvirt along.

::

    class MyTests(FakeMixin, twisted.trial.unittest.TestCase): ...     in this process, for trial
    class MyTests(FakeTestCase): ...                                   in a child process, for unittest

In both ``self.world`` is a world of the test's own, and ``self.uri`` reaches it.
"""

from __future__ import annotations

import re
import unittest
from typing import Any, ClassVar

from twisted.internet.defer import inlineCallbacks

from remotevirt.testing.fake import Fake
from remotevirt.testing.process import FakeProcess
from remotevirt.testing.remote import RemoteWorld

__all__ = ["FakeMixin", "FakeTestCase", "world_name"]


def world_name(test: str) -> str:
    """Return a name for the world of a test: what is odd in the test's name is replaced."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", test).strip("-_")[-64:].lstrip("-_") or "world"


class FakeMixin:
    """For trial: each test has a fake libvirt in its own process, on the reactor that runs the test.

    Attributes:
        fake_options: for :class:`~remotevirt.testing.fake.Fake`.
        fake: the fake; world: its world ``default``; uri: what reaches it.
    """

    fake_options: ClassVar[dict[str, Any]] = {}

    @inlineCallbacks
    def setUp(self) -> Any:
        """Start the fake."""
        self.fake = Fake(**self.fake_options)
        self.addCleanup(self.fake.stop)  # type: ignore[attr-defined]
        yield self.fake.start()
        self.world = self.fake.world()
        self.uri = self.fake.uri()


class FakeTestCase(unittest.TestCase):
    """For unittest: the tests of a class share a child process, and each has a world of its own in it.

    Attributes:
        fake_options: for :class:`~remotevirt.testing.process.FakeProcess`.
        fake: the process; world: the test's world; uri: what reaches it.
    """

    fake_options: ClassVar[dict[str, Any]] = {}
    fake: ClassVar[FakeProcess]
    world: RemoteWorld
    uri: str

    @classmethod
    def setUpClass(cls) -> None:
        """Start the process."""
        super().setUpClass()
        cls.fake = FakeProcess(**cls.fake_options)
        cls.addClassCleanup(cls.fake.stop)

    def setUp(self) -> None:
        """Make a world."""
        super().setUp()
        name = world_name(self.id())
        self.world = self.fake.make_world(name)
        self.addCleanup(self.fake.forget_world, name)
        self.uri = self.world.uri
