"""Where the time of a small call goes: ``python -m benchmarks.profile``.

Each step is timed on its own, in this process, with the embedded hypervisor and without a socket; the last
line is a whole read of 50 calls, through the protocol into a transport that throws the replies away. What a
client sees beyond that is the reactor's and the kernel's.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from remotevirt.drivers import load_driver
from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.message import HEADER_SIZE, pack_call
from remotevirt.server import Daemon, ServerFactory
from remotevirt.stubs import remote
from remotevirt.stubs.remote import PROGRAM

CALLS = 50
"""Calls in one read: what a client with 50 in flight sends at once."""

ROUNDS = 7
"""Each figure is the best of so many."""

TEST = bytes.fromhex("6695eb01f6a4830479aa97f2502e193f")
DOMAIN = remote.NonnullDomain("test", TEST, 1)

SMALL: list[tuple[str, Any]] = [
    ("connect_get_version", None),
    ("domain_get_info", remote.DomainGetInfoArgs(DOMAIN)),
    ("domain_lookup_by_name", remote.DomainLookupByNameArgs("test")),
]


def best(call: Callable[[], object], each: int = 1) -> float:
    """Return nanoseconds for each of ``each`` things that a call does."""
    number = max(1, 20_000 // each)
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number / each * 1e9


def profile(name: str, arguments: Any) -> list[tuple[str, float]]:
    """Return (step, nanoseconds for a call) for one procedure."""
    procedure = PROGRAM.by_name[name]
    server = ServerFactory(Daemon([load_driver("test:keep")], reactor=Clock()).server).buildProtocol(None)
    assert server is not None
    transport = StringTransport()
    server.makeConnection(transport)
    server.dataReceived(pack_call(PROGRAM.number, 1, 1, 0, remote.ConnectOpenArgs(None, 0).pack()))
    message = pack_call(PROGRAM.number, 1, procedure.number, 7, arguments.pack() if arguments else b"")
    frame = message[4:]
    method, _ = server.session.find(PROGRAM, procedure)
    args = arguments or ()
    value = method(*args)
    decode, encode = procedure.decode, procedure.encode
    assert encode is not None
    dispatcher = server.dispatcher

    def dispatch() -> None:
        dispatcher.dispatch(frame)
        dispatcher.out.clear()

    def read() -> None:
        server.dataReceived(batch)
        transport.clear()

    batch = message * CALLS
    reader = FrameReader()
    steps = [("cut the frame", best(lambda: reader.feed(batch), CALLS))]
    steps.append(("decode", best(lambda: decode(frame, HEADER_SIZE)) if decode else 0.0))
    steps.append(("driver", best(lambda: method(*args))))
    steps.append(("encode", best(lambda: encode(value))))
    known = sum(nanoseconds for _, nanoseconds in steps[1:])
    steps.append(("dispatch around them", best(dispatch) - known))
    whole = best(read, CALLS)
    steps.append(("queue, join, write", whole - sum(nanoseconds for _, nanoseconds in steps)))
    return [*steps, ("a call, without the reactor", whole)]


def main() -> None:
    """Print a table."""
    columns = [(name, profile(name, arguments)) for name, arguments in SMALL]
    print(f"{'nanoseconds':28}" + "".join(f"{name:>24}" for name, _ in columns))
    for row in range(len(columns[0][1])):
        step = columns[0][1][row][0]
        print(f"{step:28}" + "".join(f"{steps[row][1]:24,.0f}" for _, steps in columns))


if __name__ == "__main__":
    main()
