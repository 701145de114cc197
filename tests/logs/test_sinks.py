"""Where records are written: files that are moved away, sockets that are not there, disks that are full."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.logs.record import Record
from remotevirt.logs.settings import Kind, Level, Output
from remotevirt.logs.sinks import FileSink, Sink, StreamSink, open_sink


def record(message: str, level: Level = Level.INFO) -> Record:
    """A record."""
    return Record(0.0, level, "remotevirt.x", message)


class FileTests(SynchronousTestCase):
    """Files."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def messages(self, path: Path | None = None) -> list[str]:
        return [line.split(" : ")[-1] for line in (path or self.path).read_text().splitlines()]

    def open(self, kind: Kind = Kind.FILE) -> Sink:
        sink = open_sink(Output(Level.DEBUG, kind, str(self.path)))
        self.addCleanup(sink.close)
        return sink

    def test_appended(self) -> None:
        self.path.write_text("x : before\n")
        self.open().write(record("after"))
        self.assertEqual(["before", "after"], self.messages())

    def test_only_for_the_owner(self) -> None:
        before = os.umask(0)
        try:
            self.open()
        finally:
            os.umask(before)
        self.assertEqual(0o600, stat.S_IMODE(self.path.stat().st_mode))

    def test_json(self) -> None:
        """By its kind, or by its name."""
        for kind, name in [(Kind.JSON, "log"), (Kind.FILE, "log.json")]:
            self.path = Path(self.mktemp()).absolute() / name
            self.path.parent.mkdir()
            self.open(kind).write(record("hello"))
            self.assertEqual("hello", json.loads(self.path.read_text())["message"])

    def test_reopened_after_it_was_moved(self) -> None:
        sink = self.open()
        sink.write(record("one"))
        moved = self.path.with_suffix(".1")
        self.path.rename(moved)
        sink.write(record("two"))
        sink.reopen()
        sink.write(record("three"))
        self.assertEqual(["one", "two"], self.messages(moved))
        self.assertEqual(["three"], self.messages())

    def test_reopening_that_fails_changes_nothing(self) -> None:
        sink = self.open()
        moved = self.path.with_suffix(".1")
        self.path.rename(moved)
        self.path.mkdir()
        self.assertRaises(OSError, sink.reopen)
        sink.write(record("one"))
        self.assertEqual(["one"], self.messages(moved))

    def test_descriptors_are_not_lost(self) -> None:
        sink = self.open()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            sink.reopen()
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))

    def test_cannot_be_opened(self) -> None:
        os.mkfifo(self.path)
        for path, why in [
            ("/nonexistent/log", "log output '1:file:/nonexistent/log': No such file or directory"),
            (str(self.path), "No such device or address"),  # a FIFO that nobody reads
        ]:
            error = self.assertRaises(ValueError, open_sink, Output(Level.DEBUG, Kind.FILE, path))
            self.assertIn(why, str(error))

    def test_full_disk(self) -> None:
        """What is lost is counted, and said when there is room again."""
        sink = FileSink("/dev/full")
        self.addCleanup(sink.close)
        for _ in range(3):
            sink.write(record("lost"))
        self.assertEqual(3, sink.lost)
        sink.path = str(self.path)
        sink.reopen()
        sink.write(record("found"))
        self.assertEqual(["3 records before this one could not be written here", "found"], self.messages())
        self.assertEqual(0, sink.lost)

    def test_a_torn_record_does_not_swallow_the_next(self) -> None:
        sink = FileSink(str(self.path))
        self.addCleanup(sink.close)
        whole = os.write
        self.patch(os, "write", lambda descriptor, data: whole(descriptor, data[:10]))
        sink.write(record("lost"))
        self.patch(os, "write", whole)
        sink.write(record("found"))
        lines = self.path.read_text().splitlines()
        self.assertEqual(3, len(lines), lines)
        self.assertTrue(lines[2].endswith(" : found"))


class StreamTests(SynchronousTestCase):
    """Standard output and error."""

    def test_written(self) -> None:
        for kind, name in [(Kind.STDERR, "__stderr__"), (Kind.STDOUT, "__stdout__")]:
            raw = io.BytesIO()
            self.patch(sys, name, io.TextIOWrapper(raw, encoding="ascii"))
            open_sink(Output(Level.DEBUG, kind)).write(record("na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve"))
            self.assertTrue(raw.getvalue().endswith(b" : na\\xefve\n"), raw.getvalue())

    def test_there_is_none(self) -> None:
        self.patch(sys, "__stderr__", None)
        sink = StreamSink("__stderr__")
        sink.write(record("lost"))
        self.assertEqual(0, sink.lost)

    def test_closed(self) -> None:
        stream = io.StringIO()
        stream.close()
        self.patch(sys, "__stderr__", stream)
        sink = StreamSink("__stderr__")
        for lost in (1, 2):
            sink.write(record("lost"))
            self.assertEqual(lost, sink.lost)


class DatagramTests(SynchronousTestCase):
    """The journal and syslog, played by a socket of ours."""

    def setUp(self) -> None:
        folder = tempfile.mkdtemp(
            prefix="log-"
        )  # not below trial's, whose path may be too long for a socket's
        self.addCleanup(shutil.rmtree, folder)
        self.path = f"{folder}/socket"
        self.listen()

    def listen(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    def open(self, kind: Kind, where: str = "") -> Sink:
        sink = open_sink(Output(Level.DEBUG, kind, where), journal=self.path, syslog=self.path)
        self.addCleanup(sink.close)
        return sink

    def test_journal(self) -> None:
        sink = self.open(Kind.JOURNALD)
        sink.write(record("hello", Level.WARNING))
        self.assertEqual(
            b"MESSAGE=hello\nPRIORITY=4\nSYSLOG_IDENTIFIER=remotevirt\nLIBVIRT_SOURCE=remotevirt.x\n",
            self.socket.recv(4096),
        )
        sink.write(record("one\nMESSAGE=two", Level.ERROR))
        text = b"one\nMESSAGE=two"
        self.assertTrue(
            self.socket.recv(4096).startswith(
                b"MESSAGE\n" + bytes([len(text), 0, 0, 0, 0, 0, 0, 0]) + text + b"\nPRIORITY=3\n"
            )
        )

    def test_syslog(self) -> None:
        self.open(Kind.SYSLOG, "vm").write(record("one\ntwo", Level.ERROR))
        self.assertEqual(f"<27>vm[{os.getpid()}]: remotevirt.x : one | two".encode(), self.socket.recv(4096))

    def test_not_there(self) -> None:
        os.unlink(self.path)
        error = self.assertRaises(ValueError, self.open, Kind.JOURNALD)
        self.assertEqual(f"log output '1:journald': there is no {self.path} on this system", str(error))

    def test_started_anew(self) -> None:
        """The journal goes and comes back: what is lost meanwhile is counted, the next record arrives."""
        sink = self.open(Kind.JOURNALD)
        self.socket.close()
        os.unlink(self.path)
        sink.write(record("lost"))
        self.assertEqual(1, sink.lost)
        self.listen()
        sink.write(record("found"))
        self.assertIn(b"1 records before this one", self.socket.recv(4096))
        self.assertIn(b"MESSAGE=found\n", self.socket.recv(4096))

    def test_never_waits(self) -> None:
        """A journal that does not read loses records; the daemon goes on."""
        sink = self.open(Kind.JOURNALD)
        for _ in range(10_000):
            sink.write(record("x" * 1000))
            if sink.lost:
                break
        self.assertGreater(sink.lost, 0)
