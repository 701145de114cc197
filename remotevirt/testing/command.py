"""The command ``remotevirt-fake``: a fake libvirt for tests in any language.

It prints one line of JSON when it can be used, and ends when its standard input does, so with its parent::

    {"uri": "test+unix:///default?socket=/tmp/x/libvirt-sock", "control": "http://127.0.0.1:4711", "pid": 7}

With ``--keep`` it does not look at its standard input and ends by a signal: for containers and services.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.python.failure import Failure

from remotevirt.errors import RemotevirtError
from remotevirt.testing.driver import FakeDriver
from remotevirt.testing.fake import Fake
from remotevirt.transport.service import explain

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remotevirt-fake",
        description="A libvirt for tests: as many worlds as you open (test:///NAME), under your control.",
        epilog="docs: testing.rst, faults.rst",
    )
    add = parser.add_argument
    add("--world", metavar="FILE", help="what worlds hold: TOML, or libvirt's node XML (default: libvirt's)")
    add("--clock", choices=("auto", "manual"), default="auto", help="manual: time stands still")
    add(
        "--fault",
        metavar="RULE",
        action="append",
        default=[],
        help="what goes wrong: procedure=virDomainCreate*,error=operation_failed,count=2",
    )
    add("--files", metavar="DIR", help="the folder below which clients may name files")
    add(
        "--listen",
        metavar="ENDPOINT",
        action="append",
        default=[],
        help="serve here too: tcp:16509:interface=127.0.0.1",
    )
    add(
        "--control",
        metavar="ENDPOINT",
        default="tcp:0:interface=127.0.0.1",
        help="serve the control API here (default: a free port of 127.0.0.1)",
    )
    add(
        "--newer",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="serve what libvirt's test driver has learnt since 9.0.0 (default: yes)",
    )
    add("--keep", action="store_true", help="do not end with standard input, but by a signal")
    return parser


class _UntilEnd(Protocol):
    """Standard input, of which only its end is of interest."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Any = None) -> None:
        """End."""
        if not self.ended.called:
            self.ended.callback(None)


async def _serve(reactor: Any, options: argparse.Namespace) -> None:
    fake = Fake(
        FakeDriver(
            world=options.world,
            clock=options.clock,
            fault=";".join(options.fault),
            files=options.files,
            newer=options.newer,
            reactor=reactor,
        ),
        reactor=reactor,
    )
    stopped: Deferred[None] = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", fake.stop)
    await fake.start()
    addresses = [await _listen(fake.serve, endpoint) for endpoint in options.listen]
    control = (await _listen(fake.serve_control, options.control)).getHost()
    where = f"unix:{os.fsdecode(control.name)}" if hasattr(control, "name") else _http(control)
    line = {"uri": fake.uri(), "control": where, "pid": os.getpid()}
    if addresses:
        line["listen"] = [_uri(port.getHost()) for port in addresses]
    print(json.dumps(line), flush=True)
    if options.keep:
        await stopped
    else:
        stdin = _UntilEnd()
        StandardIO(stdin)
        await stdin.ended


async def _listen(serve: Callable[[str], Any], endpoint: str) -> Any:
    try:
        return await serve(endpoint)
    except CannotListenError:
        raise ValueError(f"cannot listen on {endpoint}: {explain(Failure())}") from None


def _http(address: Any) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{address.port}"


def _uri(address: Any) -> str:
    if hasattr(address, "name"):
        return f"test+unix:///default?socket={quote(os.fsdecode(address.name))}"
    return f"test+tcp://{_http(address).removeprefix('http://')}/default"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: it has ended; with status 1 and a line on standard error if it could not begin.
    """
    options = _parser().parse_args(arguments)

    def run(reactor: Any) -> Deferred[None]:
        # Not before it runs: whoever reads the line may end us at once, and signals are heard only then.
        running: Deferred[None] = Deferred()
        reactor.callWhenRunning(running.callback, None)
        return running.addCallback(lambda _: Deferred.fromCoroutine(_run(reactor, options)))

    react(run)


async def _run(reactor: Any, options: argparse.Namespace) -> None:
    try:
        await _serve(reactor, options)
    except (RemotevirtError, OSError, ValueError) as error:
        sys.stderr.write(f"remotevirt-fake: {' '.join(str(error).split())}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
