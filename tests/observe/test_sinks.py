"""Files and the journal."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.observe.sinks import CHECK_SECONDS, FileSink, JournalSink


class FileTests(TestCase):
    """Appending to a file."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.sink = FileSink(str(self.path), self.clock)
        self.addCleanup(self.sink.close)

    def write(self, line: str) -> None:
        self.sink.write(line, {})

    def test_lines(self) -> None:
        self.write("one")
        self.write("two")
        self.assertEqual("one\ntwo\n", self.path.read_text())

    def test_is_private(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        path = Path(self.mktemp())
        FileSink(str(path), self.clock).close()
        self.assertEqual(0o600, path.stat().st_mode & 0o777)

    def test_what_is_there_stays(self) -> None:
        self.path.write_text("old\n")
        sink = FileSink(str(self.path), self.clock)
        sink.write("new", {})
        sink.close()
        self.assertEqual("old\nnew\n", self.path.read_text())

    def test_two_writers(self) -> None:
        """Each line is one write at the end of the file."""
        other = FileSink(str(self.path), self.clock)
        self.addCleanup(other.close)
        self.write("one")
        other.write("two", {})
        self.write("three")
        self.assertEqual("one\ntwo\nthree\n", self.path.read_text())

    def test_moved_away(self) -> None:
        self.write("one")
        self.path.rename(moved := self.path.with_suffix(".1"))
        self.write("two")
        self.clock.advance(CHECK_SECONDS)
        self.write("three")
        self.assertEqual(("one\ntwo\n", "three\n"), (moved.read_text(), self.path.read_text()))

    def test_replaced(self) -> None:
        """logrotate's ``create``: another file of that name is already there."""
        self.write("one")
        self.path.rename(self.path.with_suffix(".1"))
        self.path.touch()
        self.clock.advance(CHECK_SECONDS)
        self.write("two")
        self.assertEqual("two\n", self.path.read_text())

    def test_reopen(self) -> None:
        """On SIGHUP at once, without waiting for the next look."""
        self.path.rename(self.path.with_suffix(".1"))
        self.sink.reopen()
        self.write("one")
        self.assertEqual("one\n", self.path.read_text())

    def test_folder_goes_away(self) -> None:
        """A new file cannot be made: lines go on into the old one until it can, and that is said once."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        folder = Path(self.mktemp())
        folder.mkdir()
        sink = FileSink(str(folder / "audit"), self.clock)
        self.addCleanup(sink.close)
        folder.rename(folder.with_suffix(".away"))
        for line in ("one", "two"):
            self.clock.advance(CHECK_SECONDS)
            sink.write(line, {})
        self.assertEqual("one\ntwo\n", (folder.with_suffix(".away") / "audit").read_text())
        folder.mkdir()
        self.clock.advance(CHECK_SECONDS)
        sink.write("three", {})
        self.assertEqual("three\n", (folder / "audit").read_text())
        self.assertEqual(1, len(events))

    def test_folder_goes_away_while_closed(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        sink = FileSink(str(folder / "audit"), self.clock)
        sink.close()
        folder.rename(folder.with_suffix(".away"))
        self.assertRaises(FileNotFoundError, sink.write, "one", {})

    def test_after_close(self) -> None:
        self.sink.close()
        self.sink.close()
        self.write("one")
        self.assertEqual("one\n", self.path.read_text())

    def test_not_inherited(self) -> None:
        self.assertFalse(os.get_inheritable(self.sink._descriptor))

    def test_fifo_without_a_reader(self) -> None:
        path = self.mktemp()
        os.mkfifo(path)
        self.assertRaises(OSError, FileSink, path, self.clock)

    def test_torn_line(self) -> None:
        """A write that was cut off does not swallow the next line."""
        self.patch(os, "write", lambda descriptor, data: self.real_write(descriptor, data[:2]))
        self.assertRaises(OSError, self.write, "first")
        self.patch(os, "write", self.real_write)
        self.write("second")
        self.write("third")
        self.assertEqual("fi\nsecond\nthird\n", self.path.read_text())

    real_write = staticmethod(os.write)


class JournalTests(TestCase):
    """systemd's native protocol."""

    def setUp(self) -> None:
        # A socket's path has room for some 100 bytes, and trial's folder may be deep.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "socket")
        self.journal = self.listen()
        self.sink = JournalSink(self.path)
        self.addCleanup(self.sink.close)

    def listen(self) -> socket.socket:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(found.close)
        found.bind(self.path)
        return found

    def test_record(self) -> None:
        self.sink.write('{"a": 1}', {"outcome": "ok"})
        self.assertEqual(
            b'MESSAGE={"a": 1}\nPRIORITY=5\nSYSLOG_IDENTIFIER=remotevirt-audit\nREMOTEVIRT_OUTCOME=ok\n',
            self.journal.recv(4096),
        )

    def test_several_lines(self) -> None:
        self.sink.write("one\ntwo", {})
        self.assertTrue(
            self.journal.recv(4096).startswith(
                b"MESSAGE\n" + struct.pack("<Q", 7) + b"one\ntwo\nPRIORITY=5\n"
            )
        )

    def test_restarted(self) -> None:
        """One record is lost, the next one finds the new journal."""
        self.journal.close()
        os.unlink(self.path)
        self.assertRaises(OSError, self.sink.write, "one", {})
        self.assertRaises(OSError, self.sink.write, "two", {})
        journal = self.listen()
        self.sink.write("three", {})
        self.assertIn(b"MESSAGE=three\n", journal.recv(4096))

    def test_busy(self) -> None:
        """A journal that does not read is an error, never a wait."""

        def fill() -> None:
            for _ in range(10_000):
                self.sink.write("x" * 1000, {})

        self.assertRaises(BlockingIOError, fill)
        self.journal.recv(4096)
        self.sink.write("next", {})

    def test_not_there(self) -> None:
        self.assertRaises(FileNotFoundError, JournalSink, f"{self.path}-no")
