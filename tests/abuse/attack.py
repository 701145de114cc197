"""The daemon under attack, who else uses it meanwhile, and what is checked afterwards.

An attack is anything between two measurements. After each one a fresh client must be served within
:data:`FRESH_SECONDS`, no descriptor may be left over, and memory must be back where it was, within
:data:`MEMORY_SLACK`: what Python's and C's allocators keep of what was freed.

``ABUSE_ROUNDS`` in the environment says how often what is left to chance is tried; ``make abuse`` sets it.
The seeds of the rounds are fixed, so what was found once is found again.
"""

from __future__ import annotations

import atexit
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs.remote import PROGRAM
from tests.interop.daemons import Remotevirt
from tests.wire import REMOTE, Closed, Frame, WireClient, pack_frame, pack_string

__all__ = ["ROUNDS", "AbuseTestCase", "Neighbour", "define", "error_of", "frame"]

ROUNDS = int(os.environ.get("ABUSE_ROUNDS", "1"))
"""Rounds of what is left to chance."""

FRESH_SECONDS = 2.0
"""Within which a fresh client is served after an attack."""

ANSWER_SECONDS = 4.0
"""Processor seconds of the daemon, or seconds if it has a processor to itself, for the costliest document."""

SETTLE_SECONDS = 15.0
"""Within which the daemon has noticed that clients are gone."""

MEMORY_SLACK = 48 << 20
"""Bytes that may stay with the allocators: a few messages and documents of the largest size, in pieces."""

GET_VERSION, DEFINE_XML, GET_XML = (
    PROGRAM.by_name[name].number
    for name in ("connect_get_version", "domain_define_xml", "domain_get_xml_desc")
)
TICKS = os.sysconf("SC_CLK_TCK")


def frame(procedure: int, payload: bytes = b"", serial: int = 0, **header: int) -> bytes:
    """A call of the remote program, or what a changed header makes of it."""
    words = {"program": REMOTE, "version": 1, "type": 0, "status": 0} | header
    return pack_frame(
        Frame(words["program"], words["version"], procedure, words["type"], serial, words["status"], payload)
    )


def define(xml: str) -> bytes:
    """The payload of a call whose only argument is a document."""
    return pack_string(xml)


def error_of(reply: Frame) -> str:
    """The message of an error reply."""
    assert reply.status == 1, reply
    code, domain, present = struct.unpack_from(">iiI", reply.payload)
    assert code and present, (code, domain)
    (length,) = struct.unpack_from(">I", reply.payload, 12)
    return reply.payload[16 : 16 + length].decode("utf-8", "strict")


class Neighbour:
    """Another client, which makes simple calls one after the other and notes how long each takes."""

    def __init__(self, path: Path) -> None:
        self.waits: list[float] = []
        self.failure: Exception | None = None
        self._client = WireClient(str(path))
        self._client.open()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._call, daemon=True)

    def _call(self) -> None:
        try:
            while not self._over.wait(0.002):
                begun = time.monotonic()
                assert self._client.call(REMOTE, GET_VERSION).status == 0
                self.waits.append(time.monotonic() - begun)
        except Exception as error:
            self.failure = error

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        self._client.close()

    @property
    def worst(self) -> float:
        """The longest that a call took, in seconds."""
        return max(self.waits, default=0.0)

    @property
    def usual(self) -> float:
        """What nine in ten calls took at most, in seconds."""
        return sorted(self.waits)[len(self.waits) * 9 // 10] if self.waits else 0.0


_running: dict[str, Remotevirt] = {}
"""Daemons that several tests attack one after the other, by their driver; they end with this process."""


def _shared(driver: str) -> Remotevirt:
    """A daemon with this driver, which may have been attacked before."""
    daemon = _running.get(driver)
    if daemon is None or not daemon.is_alive():
        daemon = _running[driver] = Remotevirt(driver=driver)
        atexit.register(daemon.stop)
        daemon.start()
    return daemon


class AbuseTestCase(SynchronousTestCase):
    """A running daemon: one that has been attacked before, unless a test wants its own."""

    driver = "test:keep"
    config = ""
    fresh = False

    def setUp(self) -> None:
        self.daemon = self.start() if self.fresh else _shared(self.driver)

    def start(self, **more: Any) -> Remotevirt:
        """Start a daemon; it is ended after the test."""
        daemon = Remotevirt(driver=self.driver, **more)
        if self.config:
            path = daemon.directory / "remotevirt.conf"
            path.write_text(self.config)
            daemon.options += ["--config", str(path)]
        self.addCleanup(daemon.stop)
        daemon.start()
        return daemon

    def client(self, where: str | tuple[str, int] | None = None) -> WireClient:
        """A client that has opened the default connection; it is closed after the test."""
        client = self.raw(where)
        client.open()
        return client

    def raw(self, where: str | tuple[str, int] | None = None) -> WireClient:
        """A client that has said nothing yet."""
        client = WireClient(where or str(self.daemon.unix))
        self.addCleanup(client.close)
        return client

    # -- what it must look like ------------------------------------------------------------------------

    def descriptors(self) -> int:
        """How many descriptors the daemon has open."""
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def processor_seconds(self) -> float:
        """Seconds of processor time that the daemon has had."""
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        pause = threading.Event()
        while not condition():
            self.assertLess(time.monotonic(), end, f"not within {seconds:g} s: {what}\n{self.daemon.log()}")
            pause.wait(0.02)

    def assert_serves(self, context: str) -> None:
        """Assert that a fresh client is served soon."""
        self.assertTrue(self.daemon.is_alive(), f"{context}\n{self.daemon.log()}")
        begun = time.monotonic()
        with WireClient(str(self.daemon.unix)) as client:
            client.open()
            self.assertEqual(client.call(REMOTE, GET_VERSION).status, 0, context)
        self.assertLess(time.monotonic() - begun, FRESH_SECONDS, context)

    @contextmanager
    def attack(self, context: str, slack: int = MEMORY_SLACK) -> Iterator[None]:
        """Assert that what happens inside leaves nothing behind, and the daemon serving."""
        self.assert_serves("before")
        self.wait_until(self._steady, "a steady number of descriptors")
        descriptors, memory = self.descriptors(), self.daemon.resident_bytes()
        yield
        self.assert_serves(context)
        self.wait_until(
            lambda: self.descriptors() <= descriptors,
            f"{context}: descriptors back to {descriptors}, now {self.descriptors()}",
        )
        self.wait_until(
            lambda: self.daemon.resident_bytes() < memory + slack,
            f"{context}: memory back to {memory >> 20} MiB, now {self.daemon.resident_bytes() >> 20} MiB",
        )

    def _steady(self) -> bool:
        before = self.descriptors()
        threading.Event().wait(0.05)
        return self.descriptors() == before

    def assert_no_bugs(self) -> None:
        """Assert that no exception reached the log that is no libvirt error."""
        self.assertNotIn("Traceback", self.daemon.log())

    def is_closed(self, client: WireClient) -> bool:
        """Whether the daemon closes a connection, whatever it says before."""
        try:
            while True:
                client.receive()
        except Closed:
            return True
        except TimeoutError:
            return False

    def reset(self, client: WireClient) -> None:
        """Go away without a goodbye."""
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
