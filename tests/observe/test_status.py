"""What the status page shows, and how."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.identity import Identity
from remotevirt.observe import status as module
from remotevirt.observe.lag import LagMeter
from remotevirt.observe.page import render
from remotevirt.observe.status import Domains, Status
from remotevirt.stubs.errors import AccessDenied, NoDomain
from tests.observe.fakes import DOMAIN, FakeClient, make_call

NASTY = "<script>alert(1)</script>\"'&\x1b[2J"


class StatusTestCase(TestCase):
    """Has a status at noon."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.5)
        self.status = Status(self.clock, LagMeter(self.clock), now=lambda: 1_700_000_000.0)

    def call(
        self, name: str = "domain_create", latency: float = 0.0, client: FakeClient | None = None
    ) -> None:
        call = make_call(name, DOMAIN, latency=latency, started=self.clock.seconds(), client=client)
        self.status.call_finished(call, b"")

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self.successResultOf(self.status.report())
        return found


class StatusTests(StatusTestCase):
    """What is kept."""

    def test_calls_a_second(self) -> None:
        for _ in range(3):
            self.call()
        self.clock.advance(1)
        self.call()
        self.clock.advance(2)
        self.assertEqual([3, 1, 0], self.report()["calls"]["seconds"][-3:])
        self.assertEqual(4, self.report()["calls"]["total"])

    def test_seconds_are_forgotten(self) -> None:
        self.call()
        self.clock.advance(module.SECONDS + 1)
        self.assertEqual([0] * module.SECONDS, self.report()["calls"]["seconds"])
        self.call()
        self.clock.advance(1_000_000)
        self.assertEqual([0] * module.SECONDS, self.report()["calls"]["seconds"])

    def test_a_call_that_ended_earlier(self) -> None:
        """Whatever order ends are told in, no second goes back."""
        self.clock.advance(1)
        self.call()
        call = make_call("domain_create", DOMAIN, started=999.0, latency=0.0)
        self.status.call_finished(call, b"")
        self.clock.advance(1)
        self.assertEqual(2, self.report()["calls"]["seconds"][-1])

    def test_slowest_first(self) -> None:
        for _ in range(99):
            self.call("domain_create", 0.001)
        self.call("domain_create", 0.5)
        self.call("domain_suspend", 0.01)
        first, second = self.report()["slowest"]
        self.assertEqual(
            ("domain_create", 100, 0.5), (first["procedure"], first["calls"], first["p99_seconds"])
        )
        self.assertAlmostEqual(0.00599, first["mean_seconds"])
        self.assertEqual("domain_suspend", second["procedure"])

    def test_samples_are_bounded_and_forgotten(self) -> None:
        for _ in range(module.SAMPLES + 50):
            self.call()
        self.assertEqual(module.SAMPLES, self.report()["slowest"][0]["calls"])
        self.clock.advance(module.RECENT + 1)
        self.assertEqual([], self.report()["slowest"])

    def test_clients(self) -> None:
        client, other = FakeClient(1), FakeClient(2, Identity("unix", uid=0, gid=0, pid=9), True)
        for one in (client, other):
            self.status.client_connected(one)
        self.call(client=client)
        self.call(client=client)
        first, second = self.report()["clients"]
        self.assertEqual((1, 2, False), (first["id"], first["calls"], first["readonly"]))
        self.assertEqual("C=GB,O=Example,CN=alice at tls 192.0.2.7;40000", first["who"])
        self.assertEqual((2, 0, True), (second["id"], second["calls"], second["readonly"]))
        self.status.client_disconnected(client, "bye")
        self.status.client_disconnected(client, "bye")
        self.assertEqual(1, self.report()["clients_total"])

    def test_many_clients(self) -> None:
        for number in range(module.CLIENTS_MAXIMUM + 7):
            self.status.client_connected(FakeClient(number))
        report = self.report()
        self.assertEqual(module.CLIENTS_MAXIMUM, len(report["clients"]))
        self.assertIn("and 7 more", render(report))

    def test_refusals(self) -> None:
        self.status.call_failed(make_call("domain_destroy", DOMAIN), AccessDenied("no"))
        self.status.call_failed(make_call("domain_destroy", DOMAIN), NoDomain("no"))
        self.status.client_refused("192.0.2.1;5", "limit: max_clients")
        last, first = self.report()["refusals"]
        self.assertEqual(
            ("192.0.2.1;5", "connect", "limit: max_clients"), (last["who"], last["what"], last["why"])
        )
        self.assertEqual((7, "domain_destroy"), (first["client"], first["what"]))
        self.assertIn("VIR_ERR_ACCESS_DENIED", first["why"])
        self.assertEqual(2, self.report()["calls"]["errors"])

    def test_refusals_are_bounded(self) -> None:
        for number in range(module.REFUSALS_MAXIMUM + 5):
            self.status.client_refused("x" * 5000, str(number))
        refusals = self.report()["refusals"]
        self.assertEqual(module.REFUSALS_MAXIMUM, len(refusals))
        self.assertEqual(str(module.REFUSALS_MAXIMUM + 4), refusals[0]["why"])
        self.assertLess(len(refusals[0]["who"]), 300)

    def test_is_json(self) -> None:
        self.call()
        self.status.client_connected(FakeClient())
        self.assertEqual(self.report(), json.loads(json.dumps(self.report())))

    def test_memory(self) -> None:
        self.assertGreater(self.report()["memory_bytes"], 10 << 20)


class DomainsTests(TestCase):
    """Asking the driver."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked = 0
        self.answer: Any = {"running": 2}
        self.domains = Domains(self.clock, self.ask)

    def ask(self) -> Any:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def test_asked_seldom(self) -> None:
        for _ in range(5):
            self.assertEqual({"running": 2}, self.successResultOf(self.domains.get()))
        self.assertEqual(1, self.asked)
        self.clock.advance(module.DOMAINS_SECONDS)
        self.successResultOf(self.domains.get())
        self.assertEqual(2, self.asked)

    def test_pages_share_an_answer(self) -> None:
        self.answer = Deferred()
        waiting = [self.domains.get() for _ in range(3)]
        self.assertNoResult(waiting[0])
        self.answer.callback({"paused": 1})
        self.assertEqual([{"paused": 1}] * 3, [self.successResultOf(one) for one in waiting])
        self.assertEqual(1, self.asked)

    def test_a_page_that_goes_away(self) -> None:
        """The others get their answer."""
        self.answer = Deferred()
        first, second = self.domains.get(), self.domains.get()
        first.addErrback(lambda _: None)
        first.cancel()
        self.answer.callback({"paused": 1})
        self.assertEqual({"paused": 1}, self.successResultOf(second))

    def test_coroutine(self) -> None:
        async def ask() -> dict[str, int]:
            return {"shut off": 1}

        self.assertEqual({"shut off": 1}, self.successResultOf(Domains(self.clock, ask).get()))

    def logged(self) -> list[LogEvent]:
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        return events

    def test_failures(self) -> None:
        events = self.logged()
        for answer in (RuntimeError("no"), 7, {"running": "many"}):
            self.clock.advance(module.DOMAINS_SECONDS)
            self.answer = answer
            self.assertIsNone(self.successResultOf(self.domains.get()))
        self.assertEqual(3, sum("domains cannot be counted" in (e.get("log_format") or "") for e in events))
        self.clock.advance(module.DOMAINS_SECONDS)
        self.answer = {"running": 1}
        self.assertEqual({"running": 1}, self.successResultOf(self.domains.get()))

    def test_hangs(self) -> None:
        events = self.logged()
        self.answer = Deferred()
        waiting = self.domains.get()
        self.clock.advance(module.DOMAINS_TIMEOUT)
        self.assertIsNone(self.successResultOf(waiting))
        self.assertTrue(any("domains cannot be counted" in (e.get("log_format") or "") for e in events))


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in ("meta", "link", "rect"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.text += data


class PageTests(StatusTestCase):
    """The document."""

    def fill(self) -> None:
        client = FakeClient(identity=Identity("tcp", NASTY, sasl=NASTY), server=NASTY)
        self.status.client_connected(client)
        self.call(client=client)
        self.status.client_refused(NASTY, NASTY)

    def test_empty(self) -> None:
        text = Reader(render(self.report())).text
        for words in ("No calls yet.", "Nobody is here.", "Nobody was refused.", "The driver does not tell."):
            self.assertIn(words, text)

    def test_well_formed(self) -> None:
        self.fill()
        reader = Reader(render(self.report()))
        self.assertEqual(([], []), (reader.wrong, reader._open))

    def test_peers_texts_stay_texts(self) -> None:
        empty = Reader(render(self.report()))
        self.fill()
        self.status.domains = Domains(self.clock, lambda: {NASTY: 3})
        reader = Reader(render(self.report()))
        self.assertEqual(empty.tags.count("script"), reader.tags.count("script"))
        self.assertGreaterEqual(reader.text.count("<script>alert(1)</script>"), 4)
        self.assertNotIn("\x1b", render(self.report()))

    def test_needs_nothing_else(self) -> None:
        """No address outside, no handler, no style but the one that its policy names."""
        self.fill()
        page = render(self.report())
        self.assertNotRegex(page, r"https?://")
        attributes = Reader(page).attributes
        self.assertEqual(
            [], [name for name in attributes if name.startswith("on") or name in ("src", "style")]
        )

    def test_without_scripts(self) -> None:
        """A browser that runs none is told to reload, and says so."""
        page = render(self.report())
        self.assertIn('<noscript><meta http-equiv="refresh" content="10"></noscript>', page)
        self.assertIn("reloads every 10 seconds", Reader(page).text)

    def test_values(self) -> None:
        self.status.domains = Domains(self.clock, lambda: {"running": 4211, "crashed": 0})
        self.call("domain_create", 0.0004)
        self.call("domain_suspend", 1.5)
        self.clock.advance(1)
        text = Reader(render(self.report())).text
        for words in ("4,211", "400 µs", "1.50 s", "2023-11-14 22:13 UTC"):
            self.assertIn(words, text)
        self.assertNotIn("crashed", text)
