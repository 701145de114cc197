"""Several clients of one daemon, and libvirt's Python binding with its event loop."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs import remote
from remotevirt.stubs.remote import NonnullDomain
from tests.interop.daemons import Daemon
from tests.interop.pair import Outcome, Pair, arguments, outcome_of
from tests.interop.peers import require, run_python
from tests.wire import KEEPALIVE, MESSAGE, REMOTE, Frame, WireClient

GUEST_UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
GUEST = NonnullDomain("guest", bytes.fromhex(GUEST_UUID.replace("-", "")), -1)
GUEST_XML = (
    f"<domain type='test'><name>guest</name><uuid>{GUEST_UUID}</uuid><memory>65536</memory>"
    "<os><type>hvm</type></os></domain>"
)
TEST = NonnullDomain("test", bytes.fromhex("6695eb01f6a4830479aa97f2502e193f"), 1)
LIFE = (
    ("domain_define_xml", GUEST_XML),
    ("domain_create", GUEST),
    ("domain_suspend", GUEST),
    ("domain_resume", GUEST),
    ("domain_shutdown", GUEST),
    ("domain_create_with_flags", GUEST, 0),
    ("domain_destroy", GUEST),
    ("domain_undefine", GUEST),
    ("domain_reboot", TEST, 0),
    ("domain_destroy", TEST),
)

LOOP = """
import sys, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
libvirt.virEventRegisterDefaultImpl()
connection = libvirt.open(sys.argv[1])
other = libvirt.open(sys.argv[1])
seen = []
def lifecycle(conn, domain, event, detail, opaque):
    seen.append((opaque, domain.name(), domain.UUIDString(), domain.ID(), event, detail))
def reboot(conn, domain, opaque):
    seen.append((opaque, domain.name(), 'reboot'))
def wait_for_events_of_test(count):
    while sum(event[1] == 'test' for event in seen) < count:
        libvirt.virEventRunDefaultImpl()
libvirt.virEventAddTimeout(15000, lambda *_: sys.exit('only %r' % seen), None)
"""

LIFE_IN_PYTHON = """
xml = sys.argv[2]
guest = other.defineXML(xml)
guest.create(); guest.suspend(); guest.resume(); guest.reboot(0); guest.shutdown()
guest.createWithFlags(0); guest.destroy(); guest.undefine()
other.createXML(xml, 0).destroy()
"""

LEGACY = (
    LOOP
    + "connection.domainEventRegister(lifecycle, 'legacy')\n"
    + LIFE_IN_PYTHON
    + """
other.lookupByName('test').suspend()
wait_for_events_of_test(1)
connection.domainEventDeregister(lifecycle)
other.lookupByName('test').resume()
connection.getVersion()
print(seen)
"""
)

CALLBACKS = (
    LOOP
    + """
test = connection.lookupByName('test')
ids = [
    connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, 'all'),
    connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, 'reboots'),
    connection.domainEventRegisterAny(test, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, 'test only'),
]
print(ids)
"""
    + LIFE_IN_PYTHON
    + """
test.suspend()
test.resume()
wait_for_events_of_test(4)
for number in ids:
    connection.domainEventDeregisterAny(number)
print(sorted(seen[:-4], key=str) + sorted(seen[-4:], key=str))
"""
)

CLOSE = """
import os, signal, sys, libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
libvirt.virEventRegisterDefaultImpl()
connection = libvirt.open(sys.argv[1])
reasons = []
connection.registerCloseCallback(lambda conn, reason, opaque: reasons.append(reason), None)
connection.setKeepAlive(5, 3)
os.kill(int(sys.argv[2]), signal.SIGTERM)
libvirt.virEventAddTimeout(15000, lambda *_: sys.exit('not told'), None)
while not reasons:
    libvirt.virEventRunDefaultImpl()
print(reasons, connection.isAlive())
"""


class BindingTests(SynchronousTestCase):
    """libvirt-python, which knows nothing of us."""

    def setUp(self) -> None:
        require("libvirt-python")
        self.pair = Pair(self)

    def _compare(self, script: str) -> str:
        theirs, ours = (run_python(script, daemon.uri(), GUEST_XML) for daemon in self.pair.daemons)
        self.assertEqual(ours.err, "")
        self.assertEqual(theirs.out.splitlines(), ours.out.splitlines())
        self.assertEqual(theirs.status, ours.status)
        return ours.out

    def test_legacy_events(self) -> None:
        """``domainEventRegister``: every lifecycle event of another connection's doing, in order."""
        self.assertIn("'legacy'", self._compare(LEGACY))

    def test_callback_events(self) -> None:
        """``domainEventRegisterAny``: by kind, and for one domain only."""
        out = self._compare(CALLBACKS)
        self.assertIn("'all'", out)
        self.assertIn("'test only'", out)

    def test_close_callback(self) -> None:
        """A client that asked is told when its daemon goes away: by libvirtd's end, and by ours before it."""
        theirs, ours = (run_python(CLOSE, daemon.uri(), str(daemon.pid)) for daemon in self.pair.daemons)
        eof = 1  # VIR_CONNECT_CLOSE_REASON_EOF
        self.assertEqual((0, f"[{eof}] 0\n", ""), theirs)
        # Ours says it by an event first: it may or may not have been closed when the client looks.
        self.assertEqual((0, ""), (ours.status, ours.err))
        self.assertIn(ours.out, (f"[{eof}] 0\n", f"[{eof}] 1\n"))


def _renumbered(event: Outcome, numbers: list[int]) -> Outcome:
    """An event that names its callback by its place among the registrations, whatever the daemon counts."""
    assert isinstance(event.value, tuple)
    message, rest = event.value
    if hasattr(message, "callbackID"):
        message = message._replace(callbackID=numbers.index(message.callbackID))
    return event._replace(value=(message, rest))


class EventTests(SynchronousTestCase):
    """What the wire carries to two subscribers while a third client acts."""

    def setUp(self) -> None:
        self.pair = Pair(self)

    def _client(self, daemon: Daemon) -> WireClient:
        client = WireClient(str(daemon.unix))
        self.addCleanup(client.close)
        client.open()
        return client

    def _call(self, client: WireClient, name: str, *fields: object) -> Outcome:
        number = remote.PROGRAM.by_name[name].number
        return outcome_of(client.call(REMOTE, number, arguments(name, *fields)))

    def _events(self, daemon: Daemon) -> list[object]:
        legacy, callback, actor = (self._client(daemon) for _ in range(3))
        told: list[object] = [self._call(legacy, "connect_domain_event_register")]
        numbers = []
        for kind, domain in ((0, None), (0, TEST), (1, None)):
            answer = self._call(callback, "connect_domain_event_callback_register_any", kind, domain)
            assert isinstance(answer.value, tuple)
            numbers.append(answer.value[0].callbackID)
        self.assertEqual(len(set(numbers)), 3)
        for step in LIFE:
            self._call(actor, *step)
        for client in (legacy, callback):
            # An answer behind the events shows that there are no more.
            self._call(client, "connect_get_version")
            told += [_renumbered(outcome_of(frame), numbers) for frame in client.events]
        self.assertEqual(actor.events, [])
        for client in (legacy, callback):
            client.events.clear()
        told.append(self._call(legacy, "connect_domain_event_deregister"))
        for number in [*numbers, 99]:
            told.append(self._call(callback, "connect_domain_event_callback_deregister_any", number))
        self._call(actor, "domain_create", TEST)
        for client in (legacy, callback):
            self._call(client, "connect_get_version")
            self.assertEqual(client.events, [])
        return told

    def test_two_subscribers(self) -> None:
        """Registrations, events in both forms, deregistrations: the same messages in the same order."""
        theirs, ours = (self._events(daemon) for daemon in self.pair.daemons)
        self.assertEqual(theirs, ours)
        self.assertGreater(len(ours), 20)

    def test_clients_are_apart(self) -> None:
        """What one client registers or breaks off, another does not feel."""
        for daemon in self.pair.daemons:
            first, second = self._client(daemon), self._client(daemon)
            self._call(first, "connect_domain_event_register")
            first.close()
            self.assertEqual(self._call(second, "domain_suspend", TEST).status, 0)
            self.assertEqual(self._call(second, "domain_resume", TEST).status, 0)
            self.assertEqual(second.events, [])


class KeepaliveTests(SynchronousTestCase):
    """Pings, at any time, in front of any queue."""

    def test_ping_is_answered(self) -> None:
        """A ping gets a pong: before opening, after it, between calls, many at once."""
        ping = Frame(KEEPALIVE, 1, 1, MESSAGE, 0, 0, b"")

        def exchange(client: WireClient) -> list[Frame]:
            pongs = []
            for _ in range(3):
                client.send(KEEPALIVE, 1, type=MESSAGE, serial=0)
                pongs.append(client.receive())
            feature = client.call(REMOTE, 60, struct.pack(">i", 10))
            client.open()
            client.send(KEEPALIVE, 1, type=MESSAGE, serial=0)
            pongs.append(client.receive())
            return [feature, *pongs]

        libvirtd, ours = Pair(self).each(exchange)
        self.assertEqual(libvirtd, ours)
        assert isinstance(ours, list)
        self.assertEqual(ours[1:], [ping._replace(procedure=2)] * 4)
