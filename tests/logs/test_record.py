"""Records: made of Twisted's events, as text and as JSON."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.logs.record import MAX_MESSAGE, Record
from remotevirt.logs.settings import Level

TIME = 1_700_000_000.0625


def event(text: str = "", **more: Any) -> dict[str, Any]:
    """An event as Twisted's log has it."""
    return {
        "log_format": "{text}",
        "log_level": LogLevel.info,
        "log_namespace": "remotevirt.x",
        "log_time": TIME,
        "text": text,
        **more,
    }


class RecordTests(SynchronousTestCase):
    """What becomes of an event."""

    def test_text(self) -> None:
        self.assertEqual(
            f"2023-11-14 22:13:20.062+0000: {os.getpid()}: info : remotevirt.x : hello\n",
            Record.of(event("hello")).as_text(),
        )

    def test_json(self) -> None:
        line = Record.of(event("hello", client=7, level="forged", peer=object(), none=None)).as_json()
        self.assertTrue(line.startswith('{"time": "2023-11-14T22:13:20.062Z", "level": "info", '), line)
        self.assertEqual(
            {
                "time": "2023-11-14T22:13:20.062Z",
                "level": "info",
                "source": "remotevirt.x",
                "pid": os.getpid(),
                "message": "hello",
                "text": "hello",
                "client": 7,
                "none": None,
            },
            json.loads(line),
        )

    def test_levels(self) -> None:
        for theirs, ours in {
            LogLevel.debug: Level.DEBUG,
            LogLevel.info: Level.INFO,
            LogLevel.warn: Level.WARNING,
            LogLevel.error: Level.ERROR,
            LogLevel.critical: Level.ERROR,
        }.items():
            self.assertEqual(ours, Record.of(event(log_level=theirs)).level)

    def test_traceback(self) -> None:
        try:
            raise ZeroDivisionError("oops")
        except ZeroDivisionError:
            text = Record.of(event("failed", log_failure=Failure())).as_text()
        first, second, *rest = text.splitlines()
        self.assertTrue(first.endswith(" : failed"))
        self.assertEqual("    Traceback (most recent call last):", second)
        self.assertEqual("    builtins.ZeroDivisionError: oops", rest[-1])

    def test_an_event_that_cannot_be_formatted(self) -> None:
        self.assertIn("Unable to format event", Record.of(event(log_format="{nothing.there}")).as_text())

    def test_an_event_with_nothing_in_it(self) -> None:
        self.assertEqual("info : unknown : \n", Record.of({}).as_text().partition(f"{os.getpid()}: ")[2])

    def test_a_long_message_is_cut(self) -> None:
        self.assertEqual(MAX_MESSAGE, len(Record.of(event("x" * 10 * MAX_MESSAGE)).message))

    @given(st.text())
    def test_a_record_cannot_pretend_to_be_two(self, text: str) -> None:
        record = Record.of(event(text))
        first, *rest = record.as_text().removesuffix("\n").split("\n")
        self.assertEqual([], [line for line in rest if not line.startswith("    ")])
        self.assertEqual([], [char for char in first if ord(char) < 32 and char != "\t"])
        record.as_text().encode()
        self.assertEqual(1, record.as_json().count("\n"))
        json.loads(record.as_json())

    def test_through_twisteds_log(self) -> None:
        """The names of levels and sources are those that Twisted's Logger gives."""
        seen: list[Record] = []
        log = Logger(observer=lambda event: seen.append(Record.of(event)))
        log.warn("{what} is late", what="it")
        self.assertEqual(
            [(Level.WARNING, __name__, "it is late")], [(r.level, r.source, r.message) for r in seen]
        )
