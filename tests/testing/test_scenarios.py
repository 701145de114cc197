"""What a user of the kit does: real clients through boot, faults, reconnecting, lost events, in seconds."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from twisted.internet.defer import inlineCallbacks

from remotevirt.testing import FakeMixin
from tests.daemons import Process, ProcessTestCase
from tests.interop.peers import PYTHON, require

GUEST = {
    "base": "default",
    "profile": {"linux": {"boot": 20, "agent": 25, "lease": 22, "shutdown": 5, "load": 0.25}},
    "domain": [{"name": "web", "profile": "linux", "vcpus": 2, "interfaces": ["default"]}],
}

LOOP = """
import json, libvirt, sys, threading
libvirt.registerErrorHandler(lambda _, error: None, None)
libvirt.virEventRegisterDefaultImpl()
def run():
    while True:
        libvirt.virEventRunDefaultImpl()
threading.Thread(target=run, daemon=True).start()
def say(*words):
    print(json.dumps(words), flush=True)
uri = sys.argv[1]
"""
"""What the clients in libvirt-python below begin with: an event loop, and a way to tell us."""

WATCHER = (
    LOOP
    + """
def connect():
    connection = libvirt.open(uri)
    connection.domainEventRegisterAny(
        None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda c, d, e, r, o: say("event", d.name(), e), None)
    connection.registerCloseCallback(lambda c, why, o: say("closed", why), None)
    states = {domain.name(): domain.state()[0] for domain in connection.listAllDomains()}
    say("connected", states)
    return connection
connection = connect()
for line in sys.stdin:
    if line.strip() == "reconnect":
        connection = connect()
    if line.strip() == "look":
        say("states", {domain.name(): domain.state()[0] for domain in connection.listAllDomains()})
"""
)
"""A client that follows events, and connects again when it is told to."""

RETRY = (
    LOOP
    + """
tries = 0
connection = libvirt.open(uri)
while True:
    tries += 1
    try:
        connection.lookupByName("web").create()
        break
    except libvirt.libvirtError as error:
        say("failed", error.get_error_code())
        if error.get_error_code() in (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_RPC,
                                      libvirt.VIR_ERR_INTERNAL_ERROR):
            connection = libvirt.open(uri)
say("started", tries)
"""
)
"""A client that tries again, over a new connection where the old one broke."""


class ScenarioTestCase(FakeMixin, ProcessTestCase):
    """A fake libvirt with one guest that behaves, and real clients."""

    fake_options: ClassVar[dict[str, Any]] = {"clock": "manual"}

    @inlineCallbacks
    def setUp(self) -> Any:
        require("virsh", "libvirt-python")
        yield super().setUp()
        self.world = self.fake.driver.make_world("lab", GUEST)
        self.uri = self.fake.uri("lab")

    @inlineCallbacks
    def virsh(self, *arguments: str) -> Any:
        """Run virsh; return a Deferred of its status and what it printed."""
        process = self.spawn("/usr/bin/env", "virsh", "-c", self.uri, *arguments)
        status = yield self.ended(process)
        return status, (process.out + process.err).decode().strip()

    def python(self, script: str) -> Process:
        """Start a client in libvirt-python."""
        return self.spawn(PYTHON, "-c", script, self.uri)

    @inlineCallbacks
    def said(self, process: Process, *words: Any) -> Any:
        """Wait until a client says something, from the beginning of the line."""
        line = json.dumps(list(words)).removesuffix("]")
        yield process.line(f"^{re.escape(line)}")


class BootTests(ScenarioTestCase):
    """A guest boots, gets its address, works, and is shut down."""

    @inlineCallbacks
    def test_boot(self) -> Any:
        status, _ = yield self.virsh("start", "web")
        self.assertEqual(0, status)
        status, text = yield self.virsh("domhostname", "web")
        self.assertEqual(1, status)
        self.assertIn("Guest agent is not responding", text)
        _, text = yield self.virsh("domifaddr", "web")
        self.assertNotIn("192.168.122", text)
        self.world.advance(60)
        self.assertEqual((0, "webhost"), (yield self.virsh("domhostname", "web")))
        _, text = yield self.virsh("domifaddr", "web")
        self.assertIn("192.168.122", text)
        _, text = yield self.virsh("domstats", "--cpu-total", "web")
        self.assertIn("cpu.time=30000000000", text)
        yield self.virsh("shutdown", "web")
        self.assertEqual((0, "running"), (yield self.virsh("domstate", "web")))
        self.world.advance(5)
        self.assertEqual((0, "shut off"), (yield self.virsh("domstate", "web")))
        made = [call.procedure for call in self.world.calls("domain_*", "web")]
        self.assertEqual(("domain_create", 1), (made[0], made.count("domain_shutdown")))

    @inlineCallbacks
    def test_guest_that_does_not_obey(self) -> Any:
        self.world.behave("web", acpi=False)
        yield self.virsh("start", "web")
        yield self.virsh("shutdown", "web")
        self.world.advance(3600)
        self.assertEqual((0, "running"), (yield self.virsh("domstate", "web")))
        yield self.virsh("destroy", "web")
        self.assertEqual((0, "shut off"), (yield self.virsh("domstate", "web")))


class FaultTests(ScenarioTestCase):
    """What clients say when things go wrong, and that they can go on."""

    @inlineCallbacks
    def test_errors(self) -> Any:
        for rule, words in (
            ({"error": "operation_failed", "message": "no room"}, "operation failed: no room"),
            ({"error": "out_of_memory"}, "out of memory"),
            ({"garbage": "payload"}, "Unable to decode message payload"),
            ({"garbage": "frame"}, "packet"),
            ({"drop": "before"}, "End of file while reading data"),
        ):
            self.world.fault(procedure="domain_get_state", count=1, **rule)
            status, text = yield self.virsh("domstate", "web")
            self.assertEqual(1, status, rule)
            self.assertIn(words, text)
        self.assertEqual((0, "shut off"), (yield self.virsh("domstate", "web")))

    @inlineCallbacks
    def test_it_was_done_all_the_same(self) -> Any:
        """The client cannot know; the next one sees."""
        self.world.fault(procedure="virDomainCreate*", drop="after", count=1)
        status, _ = yield self.virsh("start", "web")
        self.assertEqual(1, status)
        self.assertEqual((0, "running"), (yield self.virsh("domstate", "web")))

    @inlineCallbacks
    def test_cannot_connect(self) -> Any:
        self.world.fault(procedure="connect_open", drop="before", count=1)
        status, text = yield self.virsh("list")
        self.assertEqual(1, status)
        self.assertIn("failed to connect to the hypervisor", text)
        status, _ = yield self.virsh("list")
        self.assertEqual(0, status)

    @inlineCallbacks
    def test_slow(self) -> Any:
        """A call takes its time, which is the world's."""
        self.world.fault(procedure="domain_get_state", delay=300)
        slow = self.spawn("/usr/bin/env", "virsh", "-c", self.uri, "domstate", "web")
        while not self.world.calls("domain_get_state"):
            yield self.fake_turn()
        self.assertTrue(slow.alive)
        self.world.advance(300)
        self.assertEqual(0, (yield self.ended(slow)))

    @inlineCallbacks
    def fake_turn(self) -> Any:
        """Let the reactor turn once."""
        from twisted.internet.task import deferLater

        yield deferLater(self.fake.reactor, 0.01)


class ReconnectTests(ScenarioTestCase):
    """Clients in libvirt-python whose connection breaks."""

    @inlineCallbacks
    def test_try_again(self) -> Any:
        """An error, a broken connection, an answer that is lost: a client that tries again gets there."""
        self.world.fault(procedure="virDomainCreate*", error="operation_failed", count=1)
        self.world.fault(procedure="virDomainCreate*", drop="before", count=1)
        client = self.python(RETRY)
        yield self.said(client, "started", 3)
        self.assertEqual(0, (yield self.ended(client)), client.printed())
        self.assertEqual(
            ["error", "cancelled", "ok"], [call.outcome for call in self.world.calls("domain_create")]
        )
        self.assertEqual([1, 1, 2], [call.client for call in self.world.calls("domain_create")])

    @inlineCallbacks
    def test_watcher_comes_back(self) -> Any:
        """While it is away a guest starts; it finds out when it looks again."""
        client = self.python(WATCHER)
        yield self.said(client, "connected", {"test": 1, "web": 5})
        self.world.fault(procedure="connect_list_all_domains", drop="before", count=1)
        client.transport.write(b"look\n")
        yield self.said(client, "closed")
        yield self.ended(client)
        yield self.virsh("start", "web")
        again = self.python(WATCHER)
        yield self.said(again, "connected", {"test": 1, "web": 1})


class EventLossTests(ScenarioTestCase):
    """Events that do not come, come twice, or too late."""

    @inlineCallbacks
    def test_lost(self) -> Any:
        """A client that trusts events alone is wrong; one that looks is not."""
        client = self.python(WATCHER)
        yield self.said(client, "connected")
        self.world.fault(event="domain.lifecycle", object="web", lose=True)
        yield self.virsh("start", "web")
        yield self.virsh("suspend", "test")
        yield self.said(client, "event", "test", 3)
        self.assertNotIn(b'"web", 2', client.out)
        client.transport.write(b"look\n")
        yield self.said(client, "states", {"test": 3, "web": 1})

    @inlineCallbacks
    def test_twice_and_out_of_order(self) -> Any:
        client = self.python(WATCHER)
        yield self.said(client, "connected")
        self.world.fault(event="domain.lifecycle", duplicate=True, count=1)
        self.world.fault(event="domain.lifecycle", reorder=True, count=1)
        for verb in ("suspend", "resume", "suspend"):
            yield self.virsh(verb, "test")
        self.world.crash("test")
        yield self.said(client, "event", "test", 5)
        events = [json.loads(line)[2] for line in client.out.decode().splitlines() if '"event"' in line]
        self.assertEqual([3, 3, 3, 4, 5], events)

    @inlineCallbacks
    def test_crash_is_told(self) -> Any:
        client = self.python(WATCHER)
        yield self.said(client, "connected")
        self.world.panic("test")
        yield self.said(client, "event", "test", 8)
        yield self.said(client, "event", "test", 5)
