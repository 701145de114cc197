"""The live trace and the log of calls."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.observe.live import LiveTracer
from remotevirt.observe.logs import SLOW_SECONDS, LogTracer
from remotevirt.server.trace import Call, Tracer
from remotevirt.stubs import remote
from remotevirt.stubs.errors import NoDomain
from tests.observe.fakes import DOMAIN, FakeClient, make_call, payload_of

NASTY = "\x1b[2J\n\r"

REPEATED = (
    'cannot parse json {"execute": "set_password", "arguments": {"password": "sesame"}',
    "XML error: <graphics type='vnc' passwd='sesame'",
    "line 3: <secret>sesame",
)
"""Errors that repeat what a client has sent."""


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class BrokenPipe(io.StringIO):
    """Nobody reads it any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def hear_everything(tracer: Tracer) -> None:
    """Tell a tracer one of each."""
    client = FakeClient()
    tracer.client_connected(client)
    tracer.client_authenticated(client)
    tracer.client_refused(NASTY, NASTY)
    call = make_call("domain_lookup_by_name", NASTY)
    tracer.call_started(call)
    tracer.call_finished(call, payload_of(call, DOMAIN._replace(name=NASTY)))
    tracer.call_failed(make_call("no_such_procedure"), NoDomain(NASTY))
    tracer.call_cancelled(call)
    tracer.event_sent(client, NASTY, 0, 100)
    tracer.stream_moved(client, remote.PROGRAM.by_name["storage_vol_upload"], 1, 2)
    tracer.client_disconnected(client, NASTY)


class LiveTests(TestCase):
    """What is printed."""

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.tracer = LiveTracer(self.stream, now=lambda: 0.25)

    def lines(self) -> list[str]:
        """What was printed, without the time."""
        lines = self.stream.getvalue().splitlines()
        for line in lines:
            self.assertRegex(line, r"^\d\d:\d\d:00\.250 ")
        return [line[13:] for line in lines]

    def test_call(self) -> None:
        call = make_call("domain_lookup_by_name", "web", latency=0.0004)
        self.tracer.call_started(call)
        self.tracer.call_finished(call, payload_of(call, DOMAIN))
        uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f"
        self.assertEqual(
            [
                '#7   → domain_lookup_by_name name="web"',
                f'#7   ← domain_lookup_by_name 0.4 ms dom=(name="web", uuid={uuid}, id=3)',
            ],
            self.lines(),
        )

    def test_error(self) -> None:
        self.tracer.call_failed(make_call("domain_destroy", DOMAIN), NoDomain("no domain 'web'"))
        (line,) = self.lines()
        self.assertEqual(
            "#7   ✗ domain_destroy 2.0 ms VIR_ERR_NO_DOMAIN: Domain not found: no domain 'web'", line
        )

    def test_everything_is_one_harmless_line(self) -> None:
        hear_everything(self.tracer)
        self.assertEqual(10, len(self.lines()))
        self.assertTrue(all(line.isprintable() for line in self.lines()))

    def test_answers_that_do_not_decode(self) -> None:
        self.tracer.call_finished(make_call("domain_lookup_by_name", "web"), b"\0")
        self.assertIn("<1 bytes that do not decode>", self.lines()[0])

    def test_arguments_that_do_not_decode(self) -> None:
        call = Call(FakeClient(), make_call("domain_destroy", DOMAIN).frame[:30], 0.0)
        call.program, call.procedure = remote.PROGRAM, remote.PROGRAM.by_name["domain_destroy"]
        self.tracer.call_started(call)
        self.assertEqual(["#7   → domain_destroy"], self.lines())

    def test_secrets_in_errors(self) -> None:
        for text in REPEATED:
            self.tracer.call_failed(make_call("domain_destroy", DOMAIN), NoDomain(text))
        self.assertEqual(3, len(self.lines()))
        self.assertNotIn("sesame", self.stream.getvalue())

    def test_colour_on_a_terminal(self) -> None:
        terminal = Terminal()
        hear_everything(LiveTracer(terminal))
        for line in terminal.getvalue().splitlines():
            self.assertEqual(2, line.count("\x1b["), line)
        self.assertNotIn("\x1b[2J", terminal.getvalue())

    def test_ends_when_nobody_reads(self) -> None:
        tracer = LiveTracer(BrokenPipe())
        hear_everything(tracer)
        self.assertIsNone(tracer._stream)


class LogTests(TestCase):
    """What is logged."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.tracer = LogTracer()

    def one(self, tell: Callable[..., Any], *args: Any) -> LogEvent:
        self.events.clear()
        tell(*args)
        (event,) = self.events
        return event

    def test_failed(self) -> None:
        event = self.one(self.tracer.call_failed, make_call("domain_destroy", DOMAIN), NoDomain("x"))
        fields = {name: event[name] for name in ("program", "procedure", "client", "code", "latency")}
        self.assertEqual(
            {"program": "remote", "procedure": "domain_destroy", "client": 7, "code": 42, "latency": 0.002},
            fields,
        )
        self.assertEqual("info", event["log_level"].name)
        self.assertIn("domain_destroy of client 7 failed: Domain not found: x", formatEvent(event))

    def test_secrets_in_errors(self) -> None:
        for text in REPEATED:
            event = self.one(self.tracer.call_failed, make_call("domain_destroy", DOMAIN), NoDomain(text))
            self.assertNotIn("sesame", formatEvent(event))
            self.assertIn("***", formatEvent(event))

    def test_slow(self) -> None:
        self.tracer.call_finished(make_call("domain_destroy", DOMAIN, latency=SLOW_SECONDS - 0.01), b"")
        self.assertEqual([], self.events)
        call = make_call("domain_destroy", DOMAIN, latency=SLOW_SECONDS)
        event = self.one(self.tracer.call_finished, call, b"")
        self.assertEqual("slow: domain_destroy of client 7 took 1.000 s", formatEvent(event))

    def test_slow_is_never(self) -> None:
        tracer = LogTracer(0)
        tracer.call_finished(make_call("domain_destroy", DOMAIN, latency=1000.0), b"")
        self.assertEqual([], self.events)

    def test_nothing_nasty(self) -> None:
        hear_everything(self.tracer)
        texts = [formatEvent(event) for event in self.events]
        self.assertEqual(6, len(texts))
        self.assertTrue(all(text.isprintable() for text in texts), texts)
