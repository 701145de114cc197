"""Many idle clients at once: do they hold, and what does each cost?

``python -m benchmarks.idle`` starts a private libvirtd and ``twistd remotevirt``, connects so many clients to
each over its UNIX socket, has every one open the default connection, and reads the daemon's resident memory
before and after. A few clients are connected and disconnected first, so that what a daemon takes once is not
counted. In the end some of the clients, old and new, make a call.

libvirtd's ``max_clients``, ``max_anonymous_clients`` and ``max_queued_clients`` are raised; remotevirt has
its defaults. The system must allow each process as many descriptors as there are clients, and some.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.interop.daemons import Daemon, DaemonError, Libvirtd, Remotevirt
from tests.wire import REMOTE, WireClient

__all__ = ["Figures", "main", "measure"]

CLIENTS = 2000

WARM_UP = 50
"""Clients that come and go before anything is measured."""

SPARE = 100
"""Descriptors of a process besides its clients'."""

CONNECT_GET_VERSION = 4


@dataclass(frozen=True)
class Figures:
    """What was measured of one daemon.

    Args:
        name: which.
        clients: how many were connected at once.
        before, after: resident memory without and with them, in bytes.
        seconds: until all were connected and had opened.
    """

    name: str
    clients: int
    before: int
    after: int
    seconds: float

    @property
    def each(self) -> float:
        """Bytes for each client."""
        return (self.after - self.before) / self.clients


def measure(daemon: Daemon, count: int) -> Figures:
    """Connect clients to a running daemon, and measure it.

    Args:
        daemon: what serves.
        count: of clients.

    Raises:
        AssertionError: one of them is not served.
    """
    path = str(daemon.unix)
    for _ in range(WARM_UP):
        with WireClient(path) as client:
            client.open()
    with ExitStack() as stack:
        stack.enter_context(WireClient(path)).open()  # keeps the driver's world
        before = daemon.resident_bytes()
        begun = time.monotonic()
        clients = []
        for _ in range(count):
            client = stack.enter_context(WireClient(path))
            client.open()
            clients.append(client)
        seconds = time.monotonic() - begun
        after = daemon.resident_bytes()
        for client in clients[:: max(count // 20, 1)]:
            assert client.call(REMOTE, CONNECT_GET_VERSION).status == 0
    return Figures(daemon.name, count, before, after, seconds)


def table(rows: Sequence[Figures]) -> str:
    """The figures as a table of the manual."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - daemon",
        "     - clients at once",
        "     - without them",
        "     - with them",
        "     - for each",
        "     - all there after",
    ]
    for row in rows:
        lines += [
            f"   * - {row.name}",
            f"     - {row.clients}",
            f"     - {row.before / 2**20:.1f} MiB",
            f"     - {row.after / 2**20:.1f} MiB",
            f"     - {row.each / 1024:.1f} KiB",
            f"     - {row.seconds:.1f} s",
        ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description="Measure idle clients.")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"how many at once ({CLIENTS})")
    options = parser.parse_args(arguments)
    count: int = options.clients
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        print(f"idle: the system allows {hard} descriptors, {wanted} are needed", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    limits = dict.fromkeys(("max_clients", "max_anonymous_clients", "max_queued_clients"), wanted)
    try:
        rows = []
        for daemon in (Libvirtd(settings=limits), Remotevirt()):
            with daemon:
                rows.append(measure(daemon, count))
    except DaemonError as error:
        print(f"idle: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
