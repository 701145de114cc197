"""The control API: how tests in another process move worlds.

JSON over HTTP, on an endpoint of its own; nothing of it goes through libvirt's wire::

    GET    /worlds                names of all worlds
    PUT    /worlds/NAME           make it anew: the body describes it, or is {} for what new worlds hold
    DELETE /worlds/NAME           forget it
    POST   /worlds/NAME/VERB      do something to it: the body's fields are the arguments (see VERBS)

An answer is ``{"result": ...}``, or with status 400 ``{"error": "one line"}``. Who reaches the endpoint may
do all of this; so it belongs on the loopback address or a UNIX socket. Web pages cannot reach it: what comes
to a loopback address must name one as its ``Host``, and a body must say that it is ``application/json``.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from remotevirt.errors import RemotevirtError
from remotevirt.observe.endpoint import QuietSite, host_allowed
from remotevirt.testing.recording import Recorded
from remotevirt.testing.world import VERBS
from remotevirt.transport import parse_listener

if TYPE_CHECKING:
    from remotevirt.testing.driver import FakeDriver

__all__ = ["BODY_MAXIMUM", "ControlResource", "control_site", "listen", "serve_with_reactor"]

BODY_MAXIMUM: Final = 16 * 1024 * 1024
"""Bytes of a request's body: a world's description at most."""

KNOWN: Final = "GET /worlds, PUT and DELETE /worlds/NAME, POST /worlds/NAME/VERB"
"""What there is, for who asks for something else."""

log = Logger()


class ControlResource(Resource):
    """Answers all requests.

    Args:
        driver: whose worlds.
    """

    isLeaf = True

    def __init__(self, driver: FakeDriver) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.driver = driver

    def render(self, request: Request) -> bytes:
        """Answer; called by Twisted."""
        request.setHeader(b"Content-Type", b"application/json")
        if not host_allowed(request.getHeader("host"), request.getHost()):
            return _answer(request, 421, {"error": "ask for localhost or a loopback address"})
        try:
            return _answer(request, 200, {"result": self._do(request)})
        except _NotFound:
            what = f"{request.method.decode('ascii', 'replace')} {request.path.decode('ascii', 'replace')}"
            return _answer(request, 404, {"error": f"there is no {what:.200}; see {KNOWN}"})
        except (RemotevirtError, ValueError, TypeError) as error:
            return _answer(request, 400, {"error": str(error)})
        except Exception:
            log.failure("{path} failed", path=request.path)
            return _answer(request, 500, {"error": "this failed; the log says why"})

    def _do(self, request: Request) -> Any:
        method = request.method.decode("ascii", "replace")
        parts = request.path.decode("utf-8", "replace").strip("/").split("/")
        match method, *parts:
            case "GET", "worlds":
                return sorted(self.driver.worlds)
            case "PUT", "worlds", name:
                content = _body(request)
                self.driver.make_world(name, content or self.driver.spec)
                return None
            case "DELETE", "worlds", name:
                self.driver.forget_world(name)
                return None
            case "POST", "worlds", name, verb if verb in VERBS:
                return self._act(name, verb, _body(request))
        raise _NotFound

    def _act(self, name: str, verb: str, arguments: dict[str, Any]) -> Any:
        method = getattr(self.driver.world(name), verb)
        try:
            inspect.signature(method).bind(**arguments)
        except TypeError as error:
            raise ValueError(f"{verb}: {error}") from None
        result = method(**arguments)
        if isinstance(result, list):
            return [one.table() if isinstance(one, Recorded) else one for one in result]
        return result


class _NotFound(Exception):
    """Nothing answers to this method and path."""


def _body(request: Request) -> dict[str, Any]:
    """Return the fields of a request's body.

    Raises:
        ValueError: it has none.
    """
    kind = (request.getHeader("content-type") or "").partition(";")[0].strip()
    if kind != "application/json":
        raise ValueError("a body of Content-Type application/json is wanted")
    content: Any = request.content
    try:
        found = json.loads(content.read() or b"{}")
    except ValueError as error:
        raise ValueError(f"a JSON object is wanted: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("a JSON object is wanted")
    return found


def _answer(request: Request, status: int, content: dict[str, Any]) -> bytes:
    request.setResponseCode(status)
    return json.dumps(content).encode() + b"\n"


class _Request(Request):
    """A request whose body has a bound."""

    _received = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body; too much of it ends the connection."""
        self._received += len(data)
        if self._received > BODY_MAXIMUM:
            channel: Any = self.channel
            channel.forceAbortClient()
        else:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]


def control_site(driver: FakeDriver) -> Site:
    """Return the factory that serves the control API of a driver."""
    return QuietSite(ControlResource(driver), requestFactory=_Request)  # type: ignore[no-untyped-call]


def listen(driver: FakeDriver, endpoint: str, reactor: Any) -> Deferred[IListeningPort]:
    """Serve the control API on an endpoint string.

    Raises:
        DescriptionError: that is none.
    """
    listening: Deferred[IListeningPort] = parse_listener(reactor, endpoint).endpoint.listen(
        control_site(driver)
    )
    return listening


def serve_with_reactor(driver: FakeDriver, endpoint: str) -> None:
    """Serve the control API from when Twisted's reactor runs; if it cannot be, the log says so."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 (importing it installs it)

    reactor: Any = installed
    parse_listener(reactor, endpoint)  # mistakes are told now

    def begin() -> None:
        listening = listen(driver, endpoint, reactor)
        listening.addErrback(lambda failure: log.failure("no control API", failure))

    reactor.callWhenRunning(begin)
