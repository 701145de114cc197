"""Streams that break in the middle."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers import ClientInfo, DriverStream, Hole, StreamResult
from remotevirt.errors import VirError
from remotevirt.testing import Fault, WorldClock
from remotevirt.testing.cutting import CutStream
from remotevirt.testing.engine import FaultEngine, Who
from remotevirt.testing.rules import PROCEDURES


class Whole(DriverStream):
    """A stream of zeros, which notes what becomes of it."""

    readable = writable = True

    def __init__(self) -> None:
        self.written = b""
        self.ended: list[str] = []

    def read(self, size: int) -> bytes | Hole:
        """Return as many zeros as are asked for."""
        return b"\0" * size

    def write(self, data: bytes) -> None:
        """Take data."""
        self.written += data

    def write_hole(self, length: int) -> None:
        """Take a hole."""
        self.written += b"\0" * length

    def finish(self) -> None:
        """Note it."""
        self.ended.append("finish")

    def abort(self) -> None:
        """Note it."""
        self.ended.append("abort")


class CutStreamTests(SynchronousTestCase):
    """``CutStream``."""

    def setUp(self) -> None:
        self.whole = Whole()
        self.stream = CutStream(self.whole, 10)

    def test_read(self) -> None:
        self.assertEqual(b"\0" * 7, self.successResultOf(self.stream.read(7)))
        self.assertEqual(b"\0" * 3, self.successResultOf(self.stream.read(7)))
        self.assertRaises(VirError, self.stream.read, 7)

    def test_write(self) -> None:
        self.stream.write(b"x" * 6)
        self.stream.write_hole(3)
        self.assertRaises(VirError, self.stream.write, b"xx")
        self.assertRaises(VirError, self.stream.write_hole, 2)
        self.assertEqual(9, len(self.whole.written))

    def test_ends_are_the_streams_own(self) -> None:
        self.stream.finish()
        self.stream.abort()
        self.assertEqual(["finish", "abort"], self.whole.ended)


class CutRuleTests(SynchronousTestCase):
    """The rule ``cut``, and streams whose answer goes wrong."""

    def call(self, **rule: Any) -> Any:
        """Call a procedure that opens a stream."""
        self.gone: list[str] = []
        engine = FaultEngine(WorldClock())
        engine.add(Fault(**rule))
        who = Who(None, 1, ClientInfo(disconnect=self.gone.append))
        self.whole = Whole()
        name = "storage_vol_download"
        return engine.call(name, PROCEDURES[name], lambda: StreamResult(self.whole, None), (), who)

    def test_cut(self) -> None:
        result = self.successResultOf(self.call(procedure="storage_vol_*", cut=5))
        self.assertEqual(b"\0" * 5, self.successResultOf(result.stream.read(100)))
        self.assertRaises(VirError, result.stream.read, 100)

    def test_cut_is_about_streams(self) -> None:
        """A wider pattern leaves other calls alone."""
        engine = FaultEngine(WorldClock())
        engine.add(Fault(cut=5))
        who = Who(None, 1, ClientInfo())
        self.assertEqual(
            7, engine.call("node_get_free_memory", PROCEDURES["node_get_free_memory"], lambda: 7, (), who)
        )

    def test_nothing_is_left_open(self) -> None:
        """A stream that nobody will get is aborted."""
        self.assertNoResult(self.call(procedure="storage_vol_*", drop="after"))
        self.assertEqual((["abort"], 1), (self.whole.ended, len(self.gone)))
        self.failureResultOf(self.call(procedure="storage_vol_*", garbage="payload"))
        self.assertEqual(["abort"], self.whole.ended)
