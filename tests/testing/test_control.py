"""The control API: what it takes, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.test.requesthelper import DummyChannel

from remotevirt.testing import Fake, RemoteFake, WorldError
from remotevirt.testing.control import BODY_MAXIMUM, control_site
from remotevirt.testing.remote import RemoteWorld
from remotevirt.testing.world import VERBS, FakeWorld
from tests.testing.worlds import domain, in_memory


class RequestTests(SynchronousTestCase):
    """Requests, byte by byte."""

    def setUp(self) -> None:
        self.fake = in_memory()
        self.site = control_site(self.fake.driver)

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, Any]:
        """Make a request; return status and content of the answer."""
        channel = DummyChannel()
        channel.site = self.site
        request = self.site.requestFactory(channel, False)
        data = (body or "").encode()
        headers = {"host": "localhost", "content_type": "application/json", **headers}
        for name, value in headers.items():
            request.requestHeaders.setRawHeaders(name.replace("_", "-"), [value])
        request.gotLength(len(data))
        request.handleContentChunk(data)
        request.requestReceived(method.encode(), path.encode(), b"HTTP/1.0")
        written = channel.transport.written.getvalue()
        found = re.search(rb"^\{.*\}$", written, re.MULTILINE)
        assert found is not None, written
        return request.code, json.loads(found[0])

    def test_worlds(self) -> None:
        self.assertEqual((200, {"result": []}), self.ask("GET", "/worlds"))
        self.assertEqual(200, self.ask("PUT", "/worlds/a", '{"domain": [{"name": "x"}]}')[0])
        self.assertEqual(200, self.ask("PUT", "/worlds/b", "{}")[0])
        self.assertEqual(["x"], list(self.fake.world("a").domains()))
        self.assertEqual(["test"], list(self.fake.world("b").domains()))
        self.assertEqual((200, {"result": None}), self.ask("DELETE", "/worlds/a"))
        self.assertEqual((200, {"result": ["b"]}), self.ask("GET", "/worlds"))

    def test_verbs(self) -> None:
        self.assertEqual((200, {"result": 60.0}), self.ask("POST", "/worlds/a/advance", '{"seconds": 60}'))
        self.assertEqual(60, self.fake.world("a").time())

    def test_calls(self) -> None:
        """What is not JSON by itself is made so."""
        client = self.fake.connect("a")
        client.call("domain_suspend", domain(client))
        status, answer = self.ask("POST", "/worlds/a/calls", '{"procedure": "domain_suspend"}')
        (call,) = answer["result"]
        self.assertEqual((200, "test", "ok", 1), (status, call["object"], call["outcome"], call["client"]))
        self.assertEqual("6695eb01-f6a4-8304-79aa-97f2502e193f", call["arguments"]["dom"]["uuid"])

    def test_mistakes(self) -> None:
        for body, words in {
            '{"seconds": -1}': "seconds: a number",
            "{}": "missing a required argument",
            '{"second": 1}': "advance:",
            "[]": "a JSON object is wanted",
            "{": "a JSON object is wanted: ",
        }.items():
            status, answer = self.ask("POST", "/worlds/a/advance", body)
            self.assertEqual(400, status, body)
            self.assertIn(words, answer["error"])
        self.assertEqual(400, self.ask("PUT", "/worlds/-", "{}")[0])

    def test_nothing_else_can_be_asked_for(self) -> None:
        for method, path in (
            ("POST", "/worlds/a/close"),
            ("POST", "/worlds/a/admit"),
            ("POST", "/worlds/a/__init__"),
            ("GET", "/worlds/a/advance"),
            ("GET", "/"),
            ("POST", "/worlds"),
        ):
            status, answer = self.ask(method, path, "{}")
            self.assertEqual(404, status, path)
            self.assertIn(f"there is no {method} {path}; see GET /worlds, ", answer["error"])

    def test_web_pages_cannot(self) -> None:
        """A page in a browser can send a form, or have a name of its own lead here; not both of ours."""
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            self.assertEqual(400, self.ask("POST", "/worlds/a/reset", "{}", content_type=kind)[0])
        self.patch(DummyChannel.TCP, "getHost", lambda _: IPv4Address("TCP", "127.0.0.1", 80))
        self.assertEqual(421, self.ask("POST", "/worlds/a/reset", "{}", host="evil.example")[0])
        self.assertEqual(200, self.ask("POST", "/worlds/a/reset", "{}", host="127.0.0.1:4711")[0])

    def test_long_bodies_end_the_connection(self) -> None:
        request = self.site.requestFactory(DummyChannel(), False)
        ended: list[bool] = []
        request.channel.forceAbortClient = lambda: ended.append(True)
        request.gotLength(None)
        for _ in range(BODY_MAXIMUM // 2**20 + 1):
            request.handleContentChunk(b" " * 2**20)
        self.assertEqual([True], ended)


class VocabularyTests(SynchronousTestCase):
    """Both kits have the same words."""

    def test_same_methods(self) -> None:
        for verb in VERBS:
            for kind in (FakeWorld, RemoteWorld):
                self.assertTrue(callable(getattr(kind, verb, None)), f"{kind.__name__}.{verb}")


class SocketTests(TestCase):
    """The whole way: a blocking client, HTTP, both kinds of sockets."""

    timeout = 60

    @inlineCallbacks
    def use(self, endpoint: Callable[[Fake], str], where: Callable[[Any], str]) -> Any:
        """Ask by HTTP from another thread."""
        fake = Fake(clock="manual")
        self.addCleanup(fake.stop)
        yield fake.start()
        port = yield fake.serve_control(endpoint(fake))
        remote = RemoteFake(where(port.getHost()), fake.uri())

        def work() -> None:
            world = remote.make_world("mine", {"domain": [{"name": "guest", "state": "running"}]})
            self.assertEqual(f"test+unix:///mine?socket={fake.socket}", world.uri)
            self.assertEqual("fault-1", world.fault(procedure="domain_create", error="no_memory"))
            self.assertEqual(2, world.faults()[0]["error"])
            world.heal("fault-1")
            world.snapshot()
            world.crash("guest")
            self.assertFalse(world.domains()["guest"]["active"])
            world.restore()
            self.assertTrue(world.domains()["guest"]["active"])
            world.behave("guest", agent=5)
            self.assertEqual(5.0, world.advance(5))
            self.assertTrue(world.domains()["guest"]["agent"])
            world.panic("guest")
            world.reset()
            self.assertEqual([], world.calls())
            self.assertRaises(WorldError, world.exhaust, "nothing")
            self.assertEqual(["mine"], remote.worlds())
            remote.forget_world("mine")
            self.assertEqual([], remote.worlds())

        yield deferToThread(work)

    def test_unix(self) -> Any:
        return self.use(lambda fake: f"unix:{fake.folder}/control", lambda host: f"unix:{host.name.decode()}")

    def test_tcp(self) -> Any:
        return self.use(
            lambda fake: "tcp:0:interface=127.0.0.1", lambda host: f"http://127.0.0.1:{host.port}"
        )
