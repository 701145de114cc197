"""The log: filters before outputs, settings that change whole or not at all."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.logs import Kind, Level, Logs, Output
from remotevirt.logs.log import MAX_SOURCES
from remotevirt.logs.record import Record
from remotevirt.logs.settings import parse_filters, parse_outputs
from remotevirt.logs.sinks import Sink


class MemorySink(Sink):
    """Keeps what is written."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        if output.where == "/broken":
            raise ValueError(f"log output {str(output)!r}: broken")
        self.output = output
        self.messages: list[str] = []
        self.closed = False
        self.reopened = 0

    def _write(self, record: Record) -> None:
        self.messages.append(record.message)

    def reopen(self) -> None:
        if self.output.where == "/gone":
            raise FileNotFoundError(2, "No such file or directory")
        self.reopened += 1

    def close(self) -> None:
        self.closed = True


class LogsTests(SynchronousTestCase):
    """The observer."""

    def setUp(self) -> None:
        self.sinks: dict[str, MemorySink] = {}

    def open_sink(self, output: Output) -> MemorySink:
        sink = self.sinks[output.where or output.kind.value] = MemorySink(output)
        return sink

    def make(self, level: int = 2, filters: str = "", outputs: str = "1:stderr", **kwargs: Any) -> Logs:
        return Logs(
            Level(level),
            parse_filters(filters),
            parse_outputs(outputs),
            open_sink=self.open_sink,
            **kwargs,
        )

    def write(self, logs: Logs, namespace: str = "remotevirt.x") -> None:
        """Log at every level."""
        log = Logger(namespace, observer=logs)
        for level in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error):
            log.emit(level, "{name}", name=level.name)

    def written(self, name: str = "stderr") -> list[str]:
        messages, self.sinks[name].messages = self.sinks[name].messages, []
        return messages

    def test_level(self) -> None:
        logs = self.make()
        for number, wanted in [("1", 4), ("2", 3), ("3", 2), ("4", 1)]:
            logs.set_level(number)
            self.write(logs)
            self.assertEqual(wanted, len(self.written()))
            self.assertEqual(number, logs.get_level())

    def test_outputs_have_their_own_levels(self) -> None:
        self.write(self.make(outputs="1:file:/all 4:file:/worst"))
        self.assertEqual(["info", "warn", "error"], self.written("/all"))
        self.assertEqual(["error"], self.written("/worst"))

    def test_first_filter_that_matches(self) -> None:
        logs = self.make(filters="4:transport.tls 1:transport")
        for namespace, wanted in [
            ("remotevirt.transport.tls", ["error"]),
            ("remotevirt.transport.unix", ["debug", "info", "warn", "error"]),
            ("remotevirt.server.session", ["info", "warn", "error"]),
        ]:
            self.write(logs, namespace)
            self.assertEqual(wanted, self.written())

    def test_filters_change(self) -> None:
        logs = self.make()
        self.write(logs)
        self.assertEqual(["info", "warn", "error"], self.written())
        logs.set_filters("4:remotevirt")
        self.write(logs)
        self.assertEqual(["error"], self.written())
        self.assertEqual("4:*remotevirt*", logs.get_filters())
        error = self.assertRaises(ValueError, logs.set_filters, "1:a nonsense")
        self.assertEqual("log filter 'nonsense': it is LEVEL:MATCH", str(error))
        self.assertEqual("4:*remotevirt*", logs.get_filters())
        logs.set_filters("")
        self.assertEqual("", logs.get_filters())
        self.write(logs)
        self.assertEqual(["info", "warn", "error"], self.written())

    def test_outputs_change_whole(self) -> None:
        logs = self.make(outputs="1:file:/a")
        logs.set_outputs("1:file:/b 3:stderr")
        self.assertTrue(self.sinks["/a"].closed)
        self.assertEqual("1:file:/b 3:stderr", logs.get_outputs())
        self.write(logs)
        self.assertEqual(["warn", "error"], self.written())

    def test_or_not_at_all(self) -> None:
        logs = self.make(outputs="1:file:/a")
        for text, why in [("1:file:/c 1:file:/broken", "broken"), ("1:file:/c 9:stderr", "not '9'")]:
            self.assertIn(why, str(self.assertRaises(ValueError, logs.set_outputs, text)))
            self.assertEqual("1:file:/a", logs.get_outputs())
            self.assertFalse(self.sinks["/a"].closed)
        self.assertTrue(self.sinks["/c"].closed)
        self.write(logs)
        self.assertEqual(3, len(self.written("/a")))

    def test_default_outputs(self) -> None:
        logs = self.make(outputs="", default=[Output(Level.WARNING, Kind.STDOUT)])
        self.assertEqual("3:stdout", logs.get_outputs())
        logs.set_outputs("1:stderr")
        logs.set_outputs("")
        self.assertEqual("3:stdout", logs.get_outputs())

    def test_reopen(self) -> None:
        logs = self.make(outputs="1:file:/gone 1:file:/b")
        error = self.assertRaises(ValueError, logs.reopen)
        self.assertEqual("log output '1:file:/gone': No such file or directory", str(error))
        self.assertEqual(1, self.sinks["/b"].reopened)

    def test_closed(self) -> None:
        logs = self.make()
        logs.close()
        self.write(logs)
        self.assertEqual(([], True), (self.written(), self.sinks["stderr"].closed))

    def test_memory_of_sources_is_bounded(self) -> None:
        logs = self.make()
        for number in range(MAX_SOURCES * 2):
            Logger(f"n{number}", observer=logs).info("x")
        self.assertLessEqual(len(logs._levels), MAX_SOURCES)
        self.assertEqual(MAX_SOURCES * 2, len(self.written()))
