"""The HTTP side: metrics for Prometheus, the status page for people.

::

    /              the status page           /metrics    Prometheus's text, or OpenMetrics if asked for
    /status.json   the same as a document    /healthz    "ok"

Nothing else exists, and nothing can be changed here: GET and HEAD only, and a request's body is forgotten as
it comes. Who may see all this is who can reach the port. A web page elsewhere shall not, by a name of its own
that it makes lead to this machine: what comes to a loopback address must also name one as its ``Host``.

Metrics are collected on the reactor's thread, which owns them, and written out on another one: with hundreds
of procedures in use the text is most of a megabyte, and calls shall not wait for it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from typing import Any, Final

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import INTERNAL_SERVER_ERROR, NOT_ALLOWED, NOT_FOUND
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from remotevirt.observe.page import POLICY, render
from remotevirt.observe.status import Status

__all__ = ["ObserveFactory", "Pages"]

CONNECTIONS_MAXIMUM = 64
"""Connections at once; more are closed at once. A Prometheus and a few browsers need one or two each."""

CONNECTION_SECONDS = 120
"""Seconds that a connection may last, whatever it does; a scraper opens another one."""

IDLE_TIMEOUT = 30
"""Seconds for a request to arrive, and between requests."""

MISDIRECTED = 421
"""The status that says that this server does not answer for the host that was asked for."""

HEADERS: Final = {
    b"Server": b"remotevirt",
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": POLICY.encode(),
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
    b"X-Frame-Options": b"DENY",
}
"""What goes with every answer."""

_PHRASES = {MISDIRECTED: b"Misdirected Request"}  # Twisted has no name for it

Content = tuple[str, bytes]
"""The type of an answer, and the answer."""

_PLAIN: Callable[[Any], bytes] = generate_latest
_OPENMETRICS: Callable[[Any], bytes] = openmetrics.generate_latest

Run = Callable[..., Deferred[bytes]]
"""Calls a function with an argument."""


class Pages(Resource):
    """Answers all requests.

    Args:
        registry: the metrics.
        status: what the status page shows.
        run: runs a function on another thread; returns a Deferred of its value.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, registry: CollectorRegistry, status: Status, run: Run = deferToThread) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry = registry
        self._run = run
        self._status = status
        self._pages: dict[bytes, Callable[[Request], Content | Deferred[Content]]] = {
            b"/": self._page,
            b"/status.json": self._document,
            b"/metrics": self._metrics,
            b"/healthz": lambda _: ("text/plain; charset=utf-8", b"ok\n"),
        }

    def render(self, request: Request) -> Any:
        """Answer, now or later; called by Twisted."""
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return _refuse(request, NOT_ALLOWED, "only GET and HEAD")
        if not host_allowed(request.getHeader("host"), request.getHost()):
            return _refuse(request, MISDIRECTED, "ask for localhost or a loopback address")
        page = self._pages.get(request.path)
        if page is None:
            return _refuse(request, NOT_FOUND, "there is no such page")
        answer = maybeDeferred(page, request)
        gone = request.notifyFinish()
        gone.addErrback(lambda _: answer.cancel())
        answer.addCallback(lambda content: _send(request, *content))
        answer.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: Request) -> None:
        if request.channel is None:
            return  # the browser went away, and what was still asked for was cancelled
        self.log.failure("{path} cannot be shown", failure, path=request.path.decode("ascii", "replace"))
        request.setResponseCode(INTERNAL_SERVER_ERROR)
        _send(request, "text/plain; charset=utf-8", b"this page failed; the daemon's log says why\n")

    def _page(self, request: Request) -> Deferred[Content]:
        report = self._status.report()
        return report.addCallback(lambda found: ("text/html; charset=utf-8", render(found).encode()))

    def _document(self, request: Request) -> Deferred[Content]:
        report = self._status.report()
        return report.addCallback(lambda found: ("application/json", json.dumps(found).encode() + b"\n"))

    def _metrics(self, request: Request) -> Deferred[Content]:
        accepted = request.getHeader("accept") or ""
        kind, write = CONTENT_TYPE_PLAIN_0_0_4, _PLAIN
        if "application/openmetrics-text" in accepted:
            kind, write = openmetrics.CONTENT_TYPE_LATEST, _OPENMETRICS
        text = self._run(write, Collected(tuple(self._registry.collect())))
        return text.addCallback(lambda body: (kind, body))


@attrs.frozen
class Collected:
    """Metrics that are collected already, as a registry that another thread may ask."""

    metrics: tuple[Metric, ...]

    def collect(self) -> tuple[Metric, ...]:
        """Return them."""
        return self.metrics


def _refuse(request: Request, code: int, text: str) -> bytes:
    request.setResponseCode(code, _PHRASES.get(code))
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    return f"{text}\n".encode()


def _send(request: Request, kind: str, body: bytes) -> None:
    request.setHeader(b"Content-Type", kind.encode())
    request.setHeader(b"Content-Length", b"%d" % len(body))
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


def host_allowed(host: str | None, address: Any) -> bool:
    """Tell whether a request may name this host.

    Args:
        host: the ``Host`` header, None without one (no browser leaves it out).
        address: the address that the connection came to.
    """
    if host is None or not _is_loopback(getattr(address, "host", "")):
        return True
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class BodilessRequest(Request):
    """A request whose body is not kept: nothing here takes one."""

    def gotLength(self, length: int | None) -> None:
        """Expect nothing, whatever was announced."""
        super().gotLength(0)  # type: ignore[no-untyped-call]

    def handleContentChunk(self, data: bytes) -> None:
        """Forget it."""


class QuietSite(Site):
    """A site whose every request is not worth a line of the log: scrapes come all the time."""

    noisy = False

    def log(self, request: Any) -> None:
        """Say nothing."""


class BoundedConnection(ProtocolWrapper):
    """A connection that is cut off after a time."""

    _end: Any = None

    def connectionMade(self) -> None:
        """Begin to count."""
        factory: Any = self.factory
        self._end = factory.reactor.callLater(CONNECTION_SECONDS, self._cut_off)
        super().connectionMade()  # type: ignore[no-untyped-call]

    def _cut_off(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Stop counting."""
        if self._end is not None and self._end.active():
            self._end.cancel()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class ObserveFactory(WrappingFactory):
    """What ``--metrics`` listens with: the pages, over a bounded number of bounded connections.

    Args:
        reactor: its clock.
        registry: the metrics.
        status: what the status page shows.
        run: see :class:`Pages`.
    """

    noisy = False
    protocol = BoundedConnection

    def __init__(
        self, reactor: Any, registry: CollectorRegistry, status: Status, run: Run = deferToThread
    ) -> None:
        self.reactor = reactor
        site = QuietSite(  # type: ignore[no-untyped-call]
            Pages(registry, status, run),
            requestFactory=BodilessRequest,
            timeout=IDLE_TIMEOUT,
            reactor=reactor,
        )
        super().__init__(site)  # type: ignore[no-untyped-call]

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a protocol for a connection, None if there are too many."""
        if len(self.protocols) >= CONNECTIONS_MAXIMUM:
            return None
        return super().buildProtocol(addr)
