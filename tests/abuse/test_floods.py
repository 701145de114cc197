"""Floods, slow clients, and clients that vanish: what many cost, and whom."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import time
from pathlib import Path
from random import Random

from remotevirt.server.limits import CALLBACKS_MAXIMUM, STREAMS_MAXIMUM
from remotevirt.stubs.remote import PROGRAM
from tests.abuse.attack import (
    DEFINE_XML,
    GET_VERSION,
    GET_XML,
    ROUNDS,
    AbuseTestCase,
    Neighbour,
    define,
    error_of,
    frame,
)
from tests.interop.peers import make_pki
from tests.seeds import UUID
from tests.wire import KEEPALIVE, REMOTE, Closed, WireClient, pack_string

REGISTER, SUSPEND, RESUME, VOL_CREATE, VOL_UPLOAD, VOL_DOWNLOAD, OPEN_CONSOLE = (
    PROGRAM.by_name[name].number
    for name in (
        "connect_domain_event_callback_register_any",
        "domain_suspend",
        "domain_resume",
        "storage_vol_create_xml",
        "storage_vol_upload",
        "storage_vol_download",
        "domain_open_console",
    )
)

TEST = pack_string("test") + UUID + struct.pack(">I", 1)
"""A reference to the built-in guest."""

CYCLES = 5000
"""Clients that come and go."""

CYCLES_GROWTH = 8 << 20
"""Bytes that these may leave behind: 1.6 KiB for each would be a leak; less is what the allocators and tables
of the process take in their own time."""

CALM = 0.25
"""Seconds that a neighbour's calls take at most, nine in ten, while others attack."""


class ConnectionFloods(AbuseTestCase):
    """Many connections."""

    def test_cycles(self) -> None:
        """Thousands of clients that open, call and close leave no memory and no descriptor behind."""
        path = str(self.daemon.unix)

        def cycle(count: int) -> None:
            for _ in range(count):
                with WireClient(path) as client:
                    client.open()

        cycle(500)  # what is taken once is taken by then
        with self.attack("cycles", slack=CYCLES_GROWTH):
            cycle(CYCLES)
        self.assert_no_bugs()

    def test_flood(self) -> None:
        """A flood on one listener stops neither a client of another nor a fresh one."""
        with self.attack("a flood"), Neighbour(self.daemon.unix_ro) as neighbour:
            for _ in range(5 * ROUNDS):
                clients = []
                for _ in range(100):
                    plain = socket.create_connection(("127.0.0.1", self.daemon.tcp_port), timeout=10)
                    clients.append(plain)
                for plain in clients:
                    plain.close()
        self.assertIsNone(neighbour.failure)
        self.assertLess(neighbour.usual, CALM)

    def test_full_listener(self) -> None:
        """Where max_clients are connected, one more is refused; the other listeners take theirs."""
        daemon = self.daemon = self.start_with("max_clients = 20\n")
        clients = [self.client() for _ in range(20)]
        refused = self.raw()
        self.assertTrue(self.is_closed(refused))
        with WireClient(str(daemon.unix_ro)) as other:
            other.open()
        with WireClient(("127.0.0.1", daemon.tcp_port)) as other:
            other.open()
        clients.pop().close()
        self.wait_until(self._takes_another, "a place is free")
        self.assertIn("max_clients", daemon.log())

    def start_with(self, config: str) -> object:
        """A daemon with a configuration."""
        self.config = config
        return self.start()

    def _takes_another(self) -> bool:
        with WireClient(str(self.daemon.unix)) as client:
            try:
                client.open()
            except Closed:
                return False
            return True

    def test_stalled_handshakes(self) -> None:
        """Connections that never begin their TLS handshake stop nobody on TCP or UNIX sockets."""
        pki = make_pki(Path(self.mktemp()).resolve())
        daemon = self.daemon = self.start(pki=pki)
        hello = bytes.fromhex("1603010200010001fc0303")
        with self.attack("handshakes"), Neighbour(daemon.unix) as neighbour:
            stalled = []
            for number in range(200):
                with contextlib.suppress(ConnectionError):  # it may be one too many
                    plain = socket.create_connection(("127.0.0.1", daemon.tls_port), timeout=10)
                    stalled.append(plain)
                    if number % 2:
                        plain.sendall(hello)
            with WireClient(("127.0.0.1", daemon.tcp_port)) as client:
                client.open()
            self.assert_serves("while they stall")
            for plain in stalled:
                plain.close()
        self.assertIsNone(neighbour.failure)
        self.assert_no_bugs()


class ClientFloods(AbuseTestCase):
    """Much from one client."""

    driver = "tests.stream_driver:StreamDriver:keep"

    def test_registrations(self) -> None:
        """A client may register so many callbacks and no more."""
        with self.attack("registrations"):
            client = self.client()
            payload = struct.pack(">iI", 0, 0)
            data = b"".join(frame(REGISTER, payload, serial) for serial in range(CALLBACKS_MAXIMUM + 50))
            client.send_raw(data)
            replies = [client.reply_to(serial) for serial in range(CALLBACKS_MAXIMUM + 50)]
            self.assertEqual([reply.status for reply in replies[:CALLBACKS_MAXIMUM]], [0] * CALLBACKS_MAXIMUM)
            self.assertIn(str(CALLBACKS_MAXIMUM), error_of(replies[-1]))
            client.close()

    def test_one_byte_at_a_time(self) -> None:
        """Slow writers cost their own bytes, and nobody's time."""
        message = frame(GET_VERSION, serial=3)
        with self.attack("slow writers"), Neighbour(self.daemon.unix) as neighbour:
            clients = [self.client() for _ in range(40)]
            for place in range(len(message)):
                for client in clients:
                    client.send_raw(message[place : place + 1])
            for client in clients:
                self.assertEqual(client.reply_to(3).status, 0)
                client.close()
        self.assertLess(neighbour.usual, CALM)

    def test_replies_that_are_not_read(self) -> None:
        """A client that asks for megabytes and reads none is not read from; it costs a bounded amount."""
        client = self.client()
        big = f"<domain type='test'><name>b</name><description>{'x' * 1_000_000}</description>"
        big += "<memory>1</memory><os><type>hvm</type></os></domain>"
        made = client.call(REMOTE, DEFINE_XML, define(big))
        self.assertEqual(made.status, 0)
        ask = frame(GET_XML, made.payload + bytes(4), serial=1)
        with self.attack("unread replies"), Neighbour(self.daemon.unix) as neighbour:
            before = self.daemon.resident_bytes()
            clients = [self.client() for _ in range(8)]
            for one in clients:
                one.socket.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    for _ in range(200):
                        one.socket.send(ask)
            self.assert_serves("while replies wait")
            self.assertLess(self.daemon.resident_bytes() - before, 8 * (8 << 20))
            for one in clients:
                one.close()
        self.assertLess(neighbour.usual, CALM)
        self.assert_no_bugs()

    def test_events_that_are_not_read(self) -> None:
        """A subscriber that does not read is disconnected, alone; one that does gets every event."""
        deaf = self.client()
        for _ in range(CALLBACKS_MAXIMUM):
            self.assertEqual(deaf.call(REMOTE, REGISTER, struct.pack(">iI", 0, 0)).status, 0)
        hearing = self.client()
        hearing.call(REMOTE, REGISTER, struct.pack(">iI", 0, 0))
        actor = self.client()
        changes = 0
        with self.attack("unread events"):
            end = time.monotonic() + 30
            while "does not read" not in self.daemon.log():
                self.assertLess(time.monotonic(), end, "it is not disconnected")
                for procedure in (SUSPEND, RESUME):
                    changes += actor.call(REMOTE, procedure, TEST).status == 0
            deaf.close()
        self.assertGreater(changes, 10)
        hearing.call(REMOTE, GET_VERSION)
        self.assertEqual(len(hearing.events), changes)
        self.assert_no_bugs()

    def test_streams_that_are_not_read(self) -> None:
        """Downloads that nobody reads stop at a bound, as many as a client may have."""
        client = self.client()
        volume = self._volume(client)
        with self.attack("unread streams", slack=64 << 20), Neighbour(self.daemon.unix) as neighbour:
            reader = self.client()
            ask = volume + struct.pack(">QQI", 0, 0, 0)
            reader.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for serial in range(STREAMS_MAXIMUM + 1):
                    reader.socket.send(frame(VOL_DOWNLOAD, ask, serial=1000 + serial))
            self.assert_serves("while streams wait")
            reader.close()
            vanishing = [self.client() for _ in range(10)]
            for number, one in enumerate(vanishing):
                one.send_raw(frame(VOL_DOWNLOAD, ask, serial=number))
                one.send_raw(frame(VOL_UPLOAD, ask, serial=100 + number))
                one.send_raw(frame(VOL_UPLOAD, bytes(1 << 16), serial=100 + number, type=3, status=2))
                self.reset(one)
        self.assertIsNone(neighbour.failure)
        self.assertLess(neighbour.usual, CALM)
        self.assert_no_bugs()

    def _volume(self, client: WireClient) -> bytes:
        """Make a volume with a megabyte in it; returns its reference."""
        pool = pack_string("default-pool") + bytes.fromhex("dfe224cb28fb8dd0c4b264eb3f0f4566")
        xml = f"<volume><name>{self.id()}</name><capacity>10000000</capacity></volume>"
        made = client.call(REMOTE, VOL_CREATE, pool + define(xml) + bytes(4))
        self.assertEqual(made.status, 0, made)
        serial = client.send(REMOTE, VOL_UPLOAD, made.payload + struct.pack(">QQI", 0, 0, 0))
        self.assertEqual(client.reply_to(serial).status, 0)
        for _ in range(5):
            client.send_raw(frame(VOL_UPLOAD, bytes(200_000), serial=serial, type=3, status=2))
        client.send_raw(frame(VOL_UPLOAD, serial=serial, type=3, status=0))
        self.assertEqual(client.reply_to(serial).status, 0)
        return made.payload

    def test_vanishing(self) -> None:
        """Clients that go away at any point, with anything open, leave nothing behind."""
        random = Random(17)
        volume = self._volume(self.client()) + struct.pack(">QQI", 0, 0, 0)
        long = "<network><name>n</name>" + "<portgroup name='p'/>" * 4000 + "</network>"
        steps = [
            frame(66),
            frame(1, struct.pack(">I", 1) + pack_string("test:///default") + bytes(4)),
            frame(60, struct.pack(">I", 10)),
            frame(REGISTER, struct.pack(">iI", 0, 0)),
            frame(VOL_DOWNLOAD, volume, serial=5),
            frame(VOL_UPLOAD, volume, serial=6),
            frame(VOL_UPLOAD, bytes(5000), serial=6, type=3, status=2),
            frame(41, define(long), serial=7),
            frame(OPEN_CONSOLE, TEST + struct.pack(">II", 0, 0), serial=8),
            struct.pack(">7I", 28, KEEPALIVE, 1, 1, 2, 0, 0),
            frame(2, serial=9),
        ]
        with self.attack("vanishing"):
            for _ in range(8 * ROUNDS):
                for count in range(len(steps) + 1):
                    where = random.choice((str(self.daemon.unix), ("127.0.0.1", self.daemon.tcp_port)))
                    with WireClient(where) as client:
                        data = b"".join(steps[:count])
                        client.send_raw(data[: len(data) - random.choice((0, 0, random.randrange(60)))])
                        if random.random() < 0.5:
                            self.reset(client)
        self.assert_no_bugs()

    def test_idle_pings(self) -> None:
        """A flood of pings that are not read costs one pong when they are."""
        with self.attack("pings"):
            client = self.client()
            ping = struct.pack(">7I", 28, KEEPALIVE, 1, 1, 2, 0, 0)
            client.socket.setblocking(False)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while sent < 1 << 21:
                    sent += client.socket.send(ping * 1000)
            self.assert_serves("pings")
            client.close()


class ManyClients(AbuseTestCase):
    """Idle clients."""

    def test_two_thousand(self) -> None:
        """Two thousand clients at once hold, and each is served."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        count = min(2000, most - 200)
        self.assertGreater(count, 500, "the system allows too few descriptors to try")
        with self.attack("idle clients", slack=64 << 20):
            clients = []
            for _ in range(count):
                client = WireClient(str(self.daemon.unix))
                clients.append(client)
                client.open()
            for client in clients[:: count // 20]:
                self.assertEqual(client.call(REMOTE, GET_VERSION).status, 0)
            for client in clients:
                client.close()
