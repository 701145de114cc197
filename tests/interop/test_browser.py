"""The status page in a real browser: headless Chromium, which also enforces the page's policy."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.endpoints import TCP4ServerEndpoint

from remotevirt.identity import Identity
from remotevirt.observe.endpoint import ObserveFactory
from remotevirt.observe.lag import LagMeter
from remotevirt.observe.metrics import Metrics
from remotevirt.observe.status import Domains, Status
from remotevirt.stubs.errors import AccessDenied
from tests.daemons import ProcessTestCase
from tests.interop.peers import require
from tests.observe.fakes import DOMAIN, FakeClient, make_call

reactor: Any = _reactor

NASTY = "<script>document.title='broken'</script><img src=x onerror=alert(1)>"

OPTIONS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, where Chromium has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--window-size=1200,900",
)


def read_png(data: bytes) -> tuple[int, int, Sequence[bytes]]:
    """Width, height and lines (filtered, as they are stored) of a PNG."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, body, width, height = 8, b"", 0, 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        chunk = data[position + 8 : position + 8 + size]
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", chunk)
        elif kind == b"IDAT":
            body += chunk
        position += size + 12
    pixels = zlib.decompress(body)
    step = len(pixels) // height
    return width, height, [pixels[line * step : (line + 1) * step] for line in range(height)]


class BrowserTests(ProcessTestCase):
    """What a person sees."""

    @inlineCallbacks
    def setUp(self) -> Any:
        require("chromium")
        lag = LagMeter(reactor)
        self.reports = 0
        self.status = Status(reactor, lag, Domains(reactor, lambda: {"running": 4211, "shut off": 7}))
        client = FakeClient(12, Identity("tcp", "192.0.2.9;40000", sasl=NASTY), readonly=True)
        self.status.client_connected(client)
        now = reactor.seconds()
        call = make_call("domain_get_info", DOMAIN, client=client, latency=0.0321, started=now)
        self.status.call_finished(call, b"")
        call = make_call("domain_destroy", DOMAIN, client=client, started=now)
        self.status.call_failed(call, AccessDenied("no"))
        factory = ObserveFactory(reactor, Metrics(lag).registry, self.status)
        port = yield TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}/"
        self.report = self.status.report
        self.status.report = self.count_report

    def count_report(self) -> Any:
        """What the page is made from, counted."""
        self.reports += 1
        return self.report()

    @inlineCallbacks
    def browse(self, *options: str) -> Any:
        """Show the page to a new browser; returns what the browser printed."""
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        home = {"HOME": folder.name, "XDG_CONFIG_HOME": folder.name, "XDG_CACHE_HOME": folder.name}
        browser = self.spawn(
            "/usr/bin/env",
            "chromium",
            *OPTIONS,
            f"--user-data-dir={folder.name}",
            *options,
            self.url,
            env=home,
        )
        status = yield self.ended(browser)
        self.assertEqual(0, status, browser.printed())
        log = browser.err.decode(errors="replace")
        self.assertNotIn("Content Security Policy", log)
        self.assertNotIn("Uncaught", log)
        return browser.out.decode()

    @inlineCallbacks
    def test_page(self) -> Any:
        page = yield self.browse("--dump-dom")
        self.assertIn("<title>remotevirt</title>", page)
        for words in ("4,211", "32.1 ms", "domain_get_info", "VIR_ERR_ACCESS_DENIED", "read-only", ">live<"):
            self.assertIn(words, page)
        self.assertIn("&lt;script&gt;document.title", page)
        self.assertEqual(1, page.count("<script>"))
        self.assertNotIn("<img", page)

    @inlineCallbacks
    def test_refreshes_itself(self) -> Any:
        page = yield self.browse("--dump-dom", "--virtual-time-budget=7000")
        self.assertGreaterEqual(self.reports, 3)
        self.assertIn(">live<", page)
        self.assertIn("domain_get_info", page)

    @inlineCallbacks
    def test_daemon_goes_away(self) -> Any:
        """What was seen last stays, and the page says so."""

        def report() -> Any:
            if self.reports:
                raise RuntimeError("gone")
            return self.count_report()

        self.status.report = report
        page = yield self.browse("--dump-dom", "--virtual-time-budget=7000")
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn('class="gone">the daemon does not answer', page)
        self.assertIn("domain_get_info", page)

    @inlineCallbacks
    def look(self, *options: str) -> Any:
        """Take a picture of the page; it must have the window's size and not be blank."""
        path = Path(self.mktemp()).absolute().with_suffix(".png")
        yield self.browse(f"--screenshot={path}", "--hide-scrollbars", *options)
        width, height, lines = read_png(path.read_bytes())
        self.assertEqual((1200, 900), (width, height))
        self.assertGreater(len(set(lines)), 100, "there is almost nothing on it")
        return lines

    @inlineCallbacks
    def test_light_and_dark(self) -> Any:
        light = yield self.look()
        dark = yield self.look("--blink-settings=preferredColorScheme=0")
        self.assertNotEqual(light[0], dark[0])
