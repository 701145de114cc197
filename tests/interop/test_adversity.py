"""Bytes that are no libvirt messages cost at most their own connection; the next client is served."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.daemons import Daemon, Remotevirt
from tests.interop.pair import Pair, start
from tests.interop.peers import make_pki
from tests.wire import REMOTE, Closed, Frame, WireClient, pack_frame

TLS_HELLO = bytes.fromhex("160301004a0100004603035f") + bytes(66)
HEADER_ONLY = pack_frame(Frame(REMOTE, 1, 4, 0, 0, 0, b""))

ENDS = {
    "length 0": struct.pack(">I", 0),
    "length 3": struct.pack(">I", 3),
    "a length without a header": struct.pack(">I", 4),
    "a header cut short": struct.pack(">I", 27) + bytes(23),
    "one byte over the maximum": struct.pack(">I", 33554432 + 4 + 1),
    "length 2**31": struct.pack(">I", 1 << 31),
    "length 2**32 - 1": b"\xff\xff\xff\xff",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a TLS hello": TLS_HELLO,
    "an SSH greeting": b"SSH-2.0-OpenSSH_9.2\r\n",
    "text": b"hello there, this is not a message at all\n",
}
"""What ends a connection without a reply."""

UNFINISHED = {
    "nothing": b"",
    "half a length": b"\0\0",
    "a length": struct.pack(">I", 28),
    "half a header": HEADER_ONLY[:17],
    "a message less its last byte": HEADER_ONLY[:-1],
    "a large message that does not come": struct.pack(">I", 33554432) + HEADER_ONLY[4:],
}
"""What a client may have sent when it goes away."""


def _is_ended(daemon: Daemon, data: bytes) -> bool:
    """Whether the daemon closes a connection that sends this, without saying anything."""
    with WireClient(str(daemon.unix)) as client:
        try:
            client.send_raw(data)
            client.receive()
        except Closed:
            return True
        except TimeoutError:
            return False
    return False


class AdversityTests(SynchronousTestCase):
    """One daemon, many bad clients."""

    def setUp(self) -> None:
        self.daemon = Remotevirt()
        start(self, self.daemon)

    def _assert_serves(self, context: str) -> None:
        self.assertTrue(self.daemon.is_alive(), context)
        with WireClient(str(self.daemon.unix)) as client:
            client.open()
            self.assertEqual(client.call(REMOTE, 4).status, 0, context)

    def test_bad_frames_end_their_connection(self) -> None:
        """Each is closed at once; a neighbour and the next client notice nothing."""
        with WireClient(str(self.daemon.unix)) as neighbour:
            neighbour.open()
            for name, data in ENDS.items():
                self.assertTrue(_is_ended(self.daemon, data), name)
                self.assertEqual(neighbour.call(REMOTE, 4).status, 0, name)
                self._assert_serves(name)

    def test_bad_frames_behind_good_ones(self) -> None:
        """A call before the bad bytes is answered, then the connection ends."""
        for name, data in ENDS.items():
            with WireClient(str(self.daemon.unix)) as client:
                client.open()
                client.send_raw(pack_frame(Frame(REMOTE, 1, 4, 0, 77, 0, b"")) + data)
                self.assertEqual(client.reply_to(77).status, 0, name)
                with self.assertRaises(Closed):
                    client.receive()

    def test_unfinished_messages(self) -> None:
        """A client that leaves in the middle of a message leaves nothing behind."""
        for name, data in UNFINISHED.items():
            for opened in (False, True):
                with WireClient(str(self.daemon.unix)) as client:
                    if opened:
                        client.open()
                    client.send_raw(data)
                self._assert_serves(name)

    def test_clients_that_reset(self) -> None:
        """A TCP connection reset with calls in flight is survived, and logged without a traceback."""
        for _ in range(20):
            with WireClient(("127.0.0.1", self.daemon.tcp_port)) as client:
                client.open()
                for _ in range(10):
                    client.send(REMOTE, 7)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._assert_serves("after the resets")
        self.assertNotIn("Traceback", self.daemon.log())

    def test_one_byte_at_a_time(self) -> None:
        """The smallest pieces make the same message."""
        with WireClient(str(self.daemon.unix)) as client:
            client.open()
            for byte in pack_frame(Frame(REMOTE, 1, 4, 0, 5, 0, b"")):
                client.send_raw(bytes([byte]))
            self.assertEqual(client.reply_to(5).status, 0)

    def test_many_calls_at_once(self) -> None:
        """A thousand calls in one write are all answered, each on its serial, none twice."""
        with WireClient(str(self.daemon.unix)) as client:
            client.open()
            serials = range(100, 1100)
            client.send_raw(b"".join(pack_frame(Frame(REMOTE, 1, 4, 0, n, 0, b"")) for n in serials))
            answered = [client.receive().serial for _ in serials]
        self.assertEqual(sorted(answered), list(serials))


class TransportAdversityTests(SynchronousTestCase):
    """What reaches the wrong port."""

    def test_wrong_protocol_on_the_tls_port(self) -> None:
        """Plain libvirt, HTTP and silence on the TLS port harm nobody."""
        daemon = Remotevirt(pki=make_pki(Path(self.mktemp()).resolve()))
        start(self, daemon)
        for data in (HEADER_ONLY, ENDS["an HTTP request"], TLS_HELLO, b""):
            with socket.create_connection(("127.0.0.1", daemon.tls_port), timeout=10) as client:
                client.sendall(data)
        self.assertTrue(daemon.is_alive())
        with WireClient(("127.0.0.1", daemon.tcp_port)) as client:
            client.open()
        self.assertNotIn("Traceback", daemon.log())

    def test_libvirtd_ends_the_same(self) -> None:
        """What ends a connection here ends it with libvirtd too."""
        pair = Pair(self)
        for name, data in ENDS.items():
            self.assertEqual(
                _is_ended(pair.libvirtd, data), _is_ended(pair.remotevirt, data), f"{name}: only one closes"
            )
