"""QMP: any split of the bytes gives the same messages, and what is none of them ends the link."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu import qmp
from remotevirt.drivers.qemu.qmp import Event, Greeting, LineReader, Message, Reply, encode_command
from tests.strategies import bounded, bytes_with_splits, mutated

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}, "capabilities": ["oob"]}}
STOP = {"timestamp": {"seconds": 5, "microseconds": 6}, "event": "STOP"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def lines(*messages: Any) -> bytes:
    """What QEMU sends for these."""
    return b"".join(json.dumps(message).encode() + b"\r\n" for message in messages)


def nested(levels: int) -> bytes:
    """A reply with so many objects and lists in one another, and brackets in strings that do not count."""
    objects = (levels - 1) // 2
    lists = levels - 1 - objects
    inner = b'{"a}]": ' * objects + b'"[[{\\"["' + b"}" * objects
    return b'{"return": ' + b"[" * lists + inner + b"]" * lists + b"}"


class MessageTests(SynchronousTestCase):
    """What QEMU says."""

    def read(self, *messages: Any) -> list[Message]:
        """All messages, of a reader that had no complaint."""
        reader = LineReader()
        found = reader.feed(lines(*messages))
        self.assertIsNone(reader.failure)
        return found

    def test_greeting(self) -> None:
        self.assertEqual([Greeting(("oob",))], self.read(GREETING))

    def test_event(self) -> None:
        event = STOP | {"data": {"reason": "x"}}
        self.assertEqual(
            [Event("STOP", {}, 5, 6), Event("STOP", {"reason": "x"}, 5, 6)], self.read(STOP, event)
        )

    def test_return(self) -> None:
        self.assertEqual([Reply(3, [{"a": 1}], None)], self.read({"return": [{"a": 1}], "id": 3}))

    def test_error(self) -> None:
        error = {"class": "CommandNotFound", "desc": "The command x has not been found"}
        (reply,) = self.read({"error": error, "id": 4})
        assert isinstance(reply, Reply) and reply.error is not None
        self.assertEqual((4, "CommandNotFound"), (reply.id, reply.error.klass))
        self.assertEqual("The command x has not been found", str(reply.error))

    def test_errors_without_words(self) -> None:
        """As libvirt words them."""
        first, second = self.read({"error": {"class": "GenericError"}}, {"error": {}})
        assert isinstance(first, Reply) and isinstance(second, Reply)
        self.assertIsNone(first.id)
        self.assertEqual("GenericError", str(first.error))
        self.assertEqual("unknown QEMU command error", str(second.error))

    @bounded(100)
    @given(st.data())
    def test_any_split(self, data: st.DataObject) -> None:
        values = data.draw(st.lists(JSON, max_size=4))
        stream = lines(GREETING, *({"return": value, "id": 7} for value in values), STOP)
        expected = [Greeting(("oob",)), *(Reply(7, value, None) for value in values), Event("STOP", {}, 5, 6)]
        reader = LineReader()
        found = [message for piece in data.draw(bytes_with_splits(stream)) for message in reader.feed(piece)]
        self.assertEqual(expected, found)
        self.assertIsNone(reader.failure)


class CommandTests(SynchronousTestCase):
    """What QEMU is told."""

    def test_shape(self) -> None:
        self.assertEqual(b'{"execute":"stop","id":1}\n', encode_command("stop", None, 1))
        self.assertEqual(
            b'{"exec-oob":"yank","arguments":{"instances":[]},"id":2}\n',
            encode_command("yank", {"instances": []}, 2, True),
        )

    @bounded(50)
    @given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON))
    def test_one_line(self, arguments: dict[str, Any]) -> None:
        """Whatever is in the arguments, a command is one line."""
        line = encode_command("x", arguments, 1)
        self.assertEqual(1, line.count(b"\n"))
        self.assertEqual(arguments, json.loads(line).get("arguments", {}))

    def test_not_json(self) -> None:
        self.assertRaises(ValueError, encode_command, "x", {"a": "\ud800"}, 1)
        self.assertRaises(ValueError, encode_command, "x", {"a": float("nan")}, 1)


class HostileTests(SynchronousTestCase):
    """What is no message."""

    def refuse(self, line: bytes, reason: str) -> None:
        """The message before it is read, and none after it."""
        reader = LineReader()
        self.assertEqual([Event("STOP", {}, 5, 6)], reader.feed(lines(STOP) + line + b"\n" + lines(STOP)))
        self.assertIn(reason, str(reader.failure))
        self.assertEqual([], reader.feed(lines(STOP)))

    def test_not_json(self) -> None:
        for line in (b"", b"QEMU", b'{"return": ', b'{"return": 1} x', b'{"return": "\xff"}', b"\xff\xfe{\0"):
            self.refuse(line, "not JSON")
        for value in (b"NaN", b"-Infinity", b"1e999", b'"\\ud800"', b'"\\uDFff"', b"9" * 5000):
            self.refuse(b'{"return": ' + value + b"}", "not JSON")

    def test_surrogate_pairs(self) -> None:
        """They are text."""
        self.assertEqual(
            [Reply(None, "\U0001f600", None)], LineReader().feed(b'{"return": "\\ud83d\\ude00"}\n')
        )

    def test_other_objects(self) -> None:
        for value, reason in (
            ([], "not an object"),
            ({}, "neither"),
            ({"return": 1, "id": "1"}, "id"),
            ({"return": 1, "id": True}, "id"),
            ({"error": "x", "id": 1}, "error"),
            ({"error": {"desc": 5}, "id": 1}, "error"),
            ({"QMP": {"capabilities": [1]}}, "greeting"),
            ({"QMP": 1}, "greeting"),
            ({"event": "STOP"}, "event"),
            (STOP | {"event": 5}, "event"),
            (STOP | {"event": "A\0B"}, "whose name is none"),
            (STOP | {"event": "A" * 200}, "whose name is none"),
            (STOP | {"data": []}, "event"),
            (STOP | {"timestamp": {"seconds": 1.5, "microseconds": 1}}, "event"),
            (STOP | {"timestamp": {"seconds": 2**63, "microseconds": 1}}, "time"),
            (STOP | {"timestamp": {"seconds": 1, "microseconds": 10**6}}, "time"),
        ):
            self.refuse(json.dumps(value).encode(), reason)

    def test_long_lines(self) -> None:
        """With and without an end."""
        self.refuse(b" " * (qmp.LINE_MAXIMUM + 1), "more than")
        reader = LineReader()
        piece = b" " * 65536
        for _ in range(qmp.LINE_MAXIMUM // len(piece)):
            self.assertEqual([], reader.feed(piece))
        self.assertIsNone(reader.failure)
        reader.feed(b" ")
        self.assertIn("more than", str(reader.failure))

    def test_longest_line(self) -> None:
        frame = b'{"return": "%s"}'
        line = frame % (b"x" * (qmp.LINE_MAXIMUM - len(frame) + 2))
        self.assertEqual(1, len(LineReader().feed(line + b"\n")))

    def test_long_event(self) -> None:
        event = STOP | {"data": {"x": "x" * qmp.EVENT_MAXIMUM}}
        self.refuse(json.dumps(event).encode(), "an event of more than")

    def test_depth(self) -> None:
        self.assertEqual(1, len(LineReader().feed(nested(qmp.DEPTH_MAXIMUM) + b"\n")))
        self.refuse(nested(qmp.DEPTH_MAXIMUM + 1), "in one another")
        self.refuse(b'{"return": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON")

    def test_wide_is_not_deep(self) -> None:
        (reply,) = LineReader().feed(lines({"return": [{"a": ["}"]}] * 1000}))
        assert isinstance(reply, Reply)
        self.assertEqual(1000, len(reply.value))

    @bounded(200)
    @given(mutated(lines(GREETING, {"return": {"a": [1]}, "id": 1}, {"error": {"class": "A"}}, STOP)))
    def test_any_bytes(self, data: bytes) -> None:
        """They are messages, or a failure."""
        reader = LineReader()
        found = reader.feed(data)
        self.assertTrue(reader.failure is not None or len(found) == data.count(b"\n"))
