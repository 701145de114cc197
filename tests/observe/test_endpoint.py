"""The HTTP side, over a transport in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from remotevirt.observe import endpoint
from remotevirt.observe.endpoint import ObserveFactory, host_allowed
from remotevirt.observe.lag import LagMeter
from remotevirt.observe.metrics import Metrics
from remotevirt.observe.status import Domains, Status

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 9178)


class Answer:
    """An answer, taken apart."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


class EndpointTests(TestCase):
    """Requests and answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        lag = LagMeter(self.clock)
        self.status = Status(self.clock, lag)
        self.factory = ObserveFactory(self.clock, Metrics(lag).registry, self.status, maybeDeferred)

    def connect(self, address: Any = LOOPBACK) -> tuple[Any, StringTransport]:
        protocol = self.factory.buildProtocol(None)
        transport = StringTransport(hostAddress=address)
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, request: str, address: Any = LOOPBACK) -> Answer:
        protocol, transport = self.connect(address)
        protocol.dataReceived(request.replace("\n", "\r\n").encode())
        return Answer(transport.value())

    def get(self, path: str, *headers: str, method: str = "GET") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost:9178", *headers, "", ""]
        return self.ask("\n".join(lines))

    def test_page(self) -> None:
        answer = self.get("/")
        self.assertEqual((200, "text/html; charset=utf-8"), (answer.status, answer.headers["content-type"]))
        self.assertTrue(answer.body.startswith(b"<!DOCTYPE html>"))
        self.assertTrue(answer.body.endswith(b"</html>\n"))

    def test_document(self) -> None:
        answer = self.get("/status.json")
        self.assertEqual("application/json", answer.headers["content-type"])
        self.assertEqual(0, json.loads(answer.body)["clients_total"])

    def test_metrics(self) -> None:
        answer = self.get("/metrics")
        self.assertEqual("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
        self.assertIn(b"\nremotevirt_calls_in_flight 0.0\n", answer.body)

    def test_openmetrics(self) -> None:
        answer = self.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1")
        self.assertTrue(answer.headers["content-type"].startswith("application/openmetrics-text"))
        self.assertTrue(answer.body.endswith(b"# EOF\n"))

    def test_healthz(self) -> None:
        answer = self.get("/healthz")
        self.assertEqual((200, b"ok\n"), (answer.status, answer.body))

    def test_head(self) -> None:
        answer = self.get("/", method="HEAD")
        self.assertEqual((200, b""), (answer.status, answer.body))
        self.assertGreater(int(answer.headers["content-length"]), 1000)

    def test_nothing_else(self) -> None:
        for path in ("/favicon.ico", "/metrics/", "//", "/../etc/passwd", "/%2e%2e/", "/Metrics", "/status"):
            self.assertEqual(404, self.get(path).status, path)

    def test_query_is_ignored(self) -> None:
        self.assertEqual(200, self.get("/metrics?name[]=up").status)

    def test_only_looking(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
            answer = self.get("/", "Content-Length: 0", method=method)
            self.assertEqual((405, "GET, HEAD"), (answer.status, answer.headers["allow"]), method)

    def test_security_headers(self) -> None:
        for path in ("/", "/metrics", "/nothing"):
            headers = self.get(path).headers
            self.assertEqual("nosniff", headers["x-content-type-options"])
            self.assertEqual("DENY", headers["x-frame-options"])
            self.assertEqual("no-store", headers["cache-control"])
            self.assertIn("default-src 'none'", headers["content-security-policy"])
            self.assertEqual("remotevirt", headers["server"])
            self.assertNotIn("access-control-allow-origin", headers)

    def test_policy_names_what_the_page_holds(self) -> None:
        answer = self.get("/")
        for tag in ("script", "style"):
            (text,) = re.findall(f"<{tag}>(.*?)</{tag}>".encode(), answer.body, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
            self.assertIn(f"{tag}-src 'sha256-{digest}'", answer.headers["content-security-policy"])

    def test_other_hosts(self) -> None:
        """A page of another site whose name leads here reads nothing."""
        for host in ("evil.example", "evil.example:9178", "localhost.evil.example", "192.0.2.1", "", "[::2]"):
            answer = self.ask(f"GET /status.json HTTP/1.1\nHost: {host}\n\n")
            self.assertEqual(421, answer.status, host)
            self.assertNotIn(b"clients", answer.body)

    def test_own_hosts(self) -> None:
        for host in ("localhost", "LOCALHOST:9178", "127.0.0.1:9178", "127.8.8.8", "[::1]:9178", "[::1]"):
            self.assertEqual(200, self.ask(f"GET / HTTP/1.1\nHost: {host}\n\n").status, host)

    def test_hosts_elsewhere(self) -> None:
        self.assertTrue(host_allowed(None, LOOPBACK))
        self.assertTrue(host_allowed("vm.example", IPv4Address("TCP", "192.0.2.9", 1)))
        self.assertTrue(host_allowed("vm.example", UNIXAddress(b"/run/sock")))
        self.assertFalse(host_allowed("vm.example", IPv6Address("TCP", "::1", 1)))
        self.assertFalse(host_allowed("vm.example", IPv6Address("TCP", "::ffff:127.0.0.1", 1)))

    def test_bodies_are_forgotten(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        for _ in range(50):
            protocol.dataReceived(b"x" * 65536)
        request = protocol.wrappedProtocol._channel.requests[-1]
        self.assertEqual(b"", request.content.getvalue())
        self.assertEqual(b"", transport.value())

    def test_long_requests(self) -> None:
        """A request whose head does not end is refused, and never grows without a bound."""
        for begin in (b"GET /", b"GET / HTTP/1.1\r\nHost: "):
            protocol, transport = self.connect()
            protocol.dataReceived(begin)
            for _ in range(40):
                if not transport.disconnecting:
                    protocol.dataReceived(b"x" * 1000)
            self.assertTrue(transport.disconnecting, begin)

    def test_idle_connection(self) -> None:
        _, transport = self.connect()
        self.clock.advance(endpoint.IDLE_TIMEOUT)
        self.assertTrue(transport.disconnecting)

    def test_slow_connection(self) -> None:
        """One byte now and then keeps no connection open for ever."""
        protocol, transport = self.connect()
        for second in range(endpoint.CONNECTION_SECONDS):
            protocol.dataReceived(b"G")
            self.assertFalse(transport.disconnecting, second)
            self.clock.advance(1)
        self.assertTrue(transport.disconnecting)

    def test_connections_are_bounded(self) -> None:
        protocols = [self.connect()[0] for _ in range(endpoint.CONNECTIONS_MAXIMUM)]
        self.assertIsNone(self.factory.buildProtocol(None))
        from twisted.internet.protocol import connectionDone

        protocols[0].connectionLost(connectionDone)
        self.assertIsNotNone(self.factory.buildProtocol(None))

    def test_a_failing_page(self) -> None:
        self.status.report = lambda: 1 / 0  # type: ignore[return-value]
        answer = self.get("/")
        self.assertEqual(500, answer.status)
        self.assertNotIn(b"Zero", answer.body)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_a_browser_that_goes_away(self) -> None:
        """While the driver is still asked: nothing is written, nothing is logged."""
        from twisted.internet.protocol import connectionDone

        asked: Deferred[Any] = Deferred()
        self.status.domains = Domains(self.clock, lambda: asked)
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        protocol.connectionLost(connectionDone)
        asked.callback({})
        self.assertEqual(b"", transport.value())
        self.assertEqual([], self.flushLoggedErrors())

    def test_several_requests_on_one_connection(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        self.assertEqual(3, transport.value().count(b"ok\n"))
