"""Promises of docs/security.rst that nothing else shows on a running daemon."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from pathlib import Path

from tests.abuse.attack import DEFINE_XML, GET_XML, AbuseTestCase, define, error_of, frame
from tests.seeds import UUID
from tests.wire import REMOTE, WireClient, pack_string

LOOKUP, AUTOSTART, SUPPORTS, OPEN, NETWORK_UPDATE = 23, 75, 60, 1, 291
MARK = "Xq7marker"
"""What must not be seen again."""

GUEST = "<domain type='test'><name>x</name><memory>1</memory><os><type>hvm</type></os>{}</domain>"
REFERENCE = pack_string("test") + UUID + struct.pack(">I", 1)

STRANGERS = {
    b"GET / HTTP/1.1\r\n\r\n": "an HTTP request",
    bytes.fromhex("16030100c2010000be0303") + bytes(64): "a TLS hello on a port without TLS",
    b"SSH-2.0-OpenSSH_9.2\r\n": "an SSH client",
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00": "bytes that start with 03 00 00 13",
}
"""What else reaches a port, and what the log calls it."""


class WireTests(AbuseTestCase):
    """What bytes may mean."""

    def test_strict_strings(self) -> None:
        """A string with a zero byte, or that is not UTF-8, does not decode, and the connection goes on."""
        client = self.client()
        for text in (b"te\0st", b"test\0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"):
            payload = struct.pack(">I", len(text)) + text + bytes(-len(text) % 4)
            error = error_of(client.call(REMOTE, LOOKUP, payload))
            self.assertEqual(error, "Unable to decode message payload")
        self.assertEqual(client.call(REMOTE, LOOKUP, pack_string("test")).status, 0)

    def test_any_word_is_true(self) -> None:
        """Any word but zero means that an optional value is there: go-libvirt sends 0x01000000."""
        for word in (1, 0x01000000, 0xFFFFFFFF):
            client = self.raw()
            payload = struct.pack(">I", word) + pack_string("test:///default") + bytes(4)
            self.assertEqual(client.call(REMOTE, OPEN, payload).status, 0, hex(word))
        self.assertEqual(client.call(REMOTE, LOOKUP, pack_string("test")).status, 0)

    def test_error_texts(self) -> None:
        """Errors are UTF-8 of at most 1 KiB, however long what is wrong is."""
        client = self.client()
        for text in ("\u20ac" * 3000, "\U0001f600" * 2000, "x" * 9000):
            for payload in (define(GUEST.format(f"<vcpu>{text}")), define(text), define(f"<{text}/>")):
                error = error_of(client.call(REMOTE, DEFINE_XML, payload))
                self.assertLessEqual(len(error.encode()), 1024)
            error = error_of(client.call(REMOTE, LOOKUP, pack_string(text)))
            self.assertLessEqual(len(error.encode()), 1024)

    def test_errors_do_not_tell_secrets(self) -> None:
        """The error about a broken document shows nothing of it that may be a password, nor does the log."""
        client = self.client()
        secret = f"<devices><graphics type='vnc' passwd='{MARK}'"
        for broken in (
            f"{secret}/></devices><a></b>",
            f"{secret} b=1/></devices>",
            f"{secret}/>\n<a>{MARK}&{MARK};</a></devices>",
            f"{secret}/></devices>" + "<x>" * 300,
        ):
            error = error_of(client.call(REMOTE, DEFINE_XML, define(GUEST.format(broken))))
            self.assertRegex(error, r"^\(domain_definition\):\d+: .* \(column \d+\)$")
            self.assertNotIn(f"passwd='{MARK}", error)
            self.assertNotIn(f">{MARK}", error)
        bad = GUEST.format(f"{secret}/></devices>").encode() + b"\xff" + MARK.encode()
        payload = struct.pack(">I", len(bad)) + bad + bytes(-len(bad) % 4)
        self.assertNotIn(MARK, error_of(client.call(REMOTE, DEFINE_XML, payload)))
        self.assertNotIn(MARK, self.daemon.log())

    def test_secrets_are_asked_for(self) -> None:
        """A password comes back to who asks for it with the flag, and not to a read-only client."""
        client = self.client()
        made = client.call(
            REMOTE,
            DEFINE_XML,
            define(GUEST.format(f"<devices><graphics type='vnc' passwd='{MARK}'/></devices>")),
        )
        self.assertNotIn(MARK.encode(), client.call(REMOTE, GET_XML, made.payload + bytes(4)).payload)
        secure = made.payload + struct.pack(">I", 1)
        self.assertIn(MARK.encode(), client.call(REMOTE, GET_XML, secure).payload)
        reader = self.client(str(self.daemon.unix_ro))
        self.assertIn("secure flag", error_of(reader.call(REMOTE, GET_XML, secure)))


class PortTests(AbuseTestCase):
    """What is not ours."""

    def test_strangers_are_named(self) -> None:
        """The log says what reached the port, also if it came in pieces, or not at all."""
        for data, name in STRANGERS.items():
            for size in (len(data), 4):
                with socket.create_connection(("127.0.0.1", self.daemon.tcp_port), timeout=10) as plain:
                    for start in range(0, len(data), size):
                        try:
                            plain.sendall(data[start : start + size])
                        except OSError:
                            break
                    with contextlib.suppress(ConnectionResetError):
                        self.assertEqual(plain.recv(1), b"")
                self.wait_until(lambda name=name: name in self.daemon.log(), name)
        socket.create_connection(("127.0.0.1", self.daemon.tcp_port), timeout=10).close()
        self.wait_until(lambda: "sent nothing: a port scan" in self.daemon.log(), "a port scan")
        self.assert_serves("strangers")
        self.assert_no_bugs()


class FileTests(AbuseTestCase):
    """Files that a client names."""

    fresh = True

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.driver = f"test:keep:files={self.folder}"
        super().setUp()

    def open(self, path: str, where: Path | None = None) -> tuple[int, str]:
        """Open the node file of a path; returns the reply's status and the error."""
        with WireClient(str(where or self.daemon.unix)) as client:
            payload = struct.pack(">I", 1) + pack_string(f"test://{path}") + bytes(4)
            reply = client.call(REMOTE, OPEN, payload)
            return reply.status, error_of(reply) if reply.status else ""

    def test_only_below_the_folder(self) -> None:
        """Nothing outside the folder is read, by whatever path, and nothing for a read-only client."""
        good = self.folder / "node.xml"
        good.write_text("<node/>")
        secret = self.folder.parent / f"{self.folder.name}-secret"
        secret.write_text(f"{MARK}:x:0:0")
        os.symlink(secret, self.folder / "link.xml")
        self.assertEqual(self.open(str(good))[0], 0)
        for path in (
            str(secret),
            f"{self.folder}/../{secret.name}",
            f"{self.folder}/link.xml",
            f"{self.folder}/%2e%2e/{secret.name}",
            "/etc/passwd",
            "/dev/zero",
            f"/proc/{self.daemon.pid}/environ",
            str(self.folder),
        ):
            status, error = self.open(path)
            self.assertEqual(status, 1, path)
            self.assertNotIn(MARK, error)
            self.assertNotIn("root:", error)
        self.assertEqual(self.open(str(good), self.daemon.unix_ro)[0], 1)

    def test_nothing_of_a_file_is_shown(self) -> None:
        """A file that is allowed, and is no node file, is not told line by line."""
        (self.folder / "other.txt").write_text(f"password = {MARK}\n")
        (self.folder / "other.xml").write_text(f"<node>\n<a>{MARK}</b>\n")
        for name in ("other.txt", "other.xml"):
            status, error = self.open(f"{self.folder}/{name}")
            self.assertEqual(status, 1)
            self.assertNotIn(MARK, error)
            self.assertIn("column", error)


class DeadlineTests(AbuseTestCase):
    """Time."""

    def test_turns(self) -> None:
        """A client with thousands of calls at hand does not keep another waiting."""
        busy = self.client()
        calls = b"".join(frame(GET_XML, REFERENCE + bytes(4), serial) for serial in range(3000))
        other = self.client()
        busy.socket.setblocking(False)
        sent = 0
        waits = []
        end = time.monotonic() + 3
        while time.monotonic() < end and sent < len(calls):
            try:
                sent += busy.socket.send(calls[sent : sent + 65536])
                busy.socket.recv(1 << 20)
            except BlockingIOError:
                pass
            begun = time.monotonic()
            self.assertEqual(other.call(REMOTE, 4).status, 0)
            waits.append(time.monotonic() - begun)
        self.assertLess(sorted(waits)[len(waits) // 2], 0.1)
        self.assertGreater(sent, 0)
