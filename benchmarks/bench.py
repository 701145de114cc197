"""remotevirt beside libvirtd: the same calls, the same machine, the same run.

The program compiles ``rpcload.c``, starts a private libvirtd and ``twistd remotevirt``, both with the test
driver, both without authentication, both with one idle connection that keeps the driver's world alive, and
measures them in turn: libvirtd, remotevirt, libvirtd, remotevirt, for each workload and as many rounds as
asked for. What counts is the median over the rounds, and the ratio of the two medians; every single run is in
the JSON report. Both daemons are ended when the program ends.

What is measured:

* small calls, 50 in flight on each of 1 and 8 connections, and one at a time on one connection;
* ``connect_list_all_domains`` with 1,000 domains, defined over the wire first, four calls in flight;
* the median latency of each of them (for pipelined calls that is mostly the queue: depth divided by rate);
* connections set up, opened, closed per second, one after the other;
* the daemon's resident memory per idle client, of a daemon that has done nothing else yet.

libvirtd's settings matter, so the report names them (``--libvirtd``):

``default``
    libvirtd's own: at most 5 calls of one client at a time (the rest waits in its socket), 5 to 20 workers.
``raised``
    ``max_client_requests = 1000``, so that all of the 50 calls in flight can be in the daemon at once. This
    is what the targets are measured against.
``single``
    one worker thread. No threads compete, so small calls run about twice as fast, but one slow call then
    stops the daemon: not how anyone runs it. It shows how much of libvirtd's time goes to passing calls
    between threads.

``max_clients`` is raised in all of them, for the idle clients. remotevirt runs with its own defaults, apart
from the options given with ``--option``. The load generator is one thread and takes a core of its own while
it is busy; with less than two cores the figures say little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.interop.daemons import Daemon, DaemonError, Libvirtd, Remotevirt
from tests.wire import REMOTE, WireClient, pack_string

__all__ = ["main"]

SOURCE = Path(__file__).with_name("rpcload.c")

LIBVIRTD_SETTINGS: Mapping[str, Mapping[str, int]] = {
    "default": {},
    "raised": {"max_client_requests": 1000},
    "single": {"max_client_requests": 1000, "min_workers": 1, "max_workers": 1, "prio_workers": 1},
}
IDLE_CLIENTS = 500
DOMAINS = 1000

CONNECT_GET_VERSION, DOMAIN_DEFINE_XML, DOMAIN_GET_INFO, DOMAIN_LOOKUP_BY_NAME = 4, 11, 16, 23
CONNECT_LIST_ALL_DOMAINS = 273

TEST_DOMAIN = pack_string("test") + bytes.fromhex("6695eb01f6a4830479aa97f2502e193f") + struct.pack(">i", 1)
"""The domain that the test driver starts with, as the wire names it: name, UUID, id."""

Result = dict[str, float]
"""What rpcload printed, its numbers by name; for memory, what this program measured."""


class BenchError(Exception):
    """The benchmark cannot go on; the text is for the user."""


@dataclass(frozen=True)
class Target:
    """What a workload is to reach: remotevirt's figure over libvirtd's."""

    metric: str
    ratio: float
    at_most: bool = False

    def reached(self, ratio: float) -> bool:
        """Whether a measured ratio is good enough."""
        return ratio <= self.ratio if self.at_most else ratio >= self.ratio

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.ratio:g}"


NO_SLOWER = Target("p50_us", 1.0, at_most=True)


@dataclass(frozen=True)
class Workload:
    """One line of work for rpcload, and what its figures are to reach.

    Args:
        label: for the table.
        options: rpcload's, without the times.
        targets: metrics to compare; those without a target are shown with ``extra``.
        extra: metrics that are shown and not judged.
        crowded: wants the 1,000 domains.
        once: only the first measurement of a daemon means something; it comes before all others.
    """

    label: str
    options: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    extra: tuple[str, ...] = ()
    crowded: bool = False
    once: bool = False


def _call(label: str, procedure: int, payload: bytes = b"") -> tuple[str, tuple[str, ...]]:
    return label, ("-p", str(procedure), "-a", payload.hex())


SMALL_CALLS = (
    _call("connect_get_version", CONNECT_GET_VERSION),
    _call("domain_get_info", DOMAIN_GET_INFO, TEST_DOMAIN),
    _call("domain_lookup_by_name", DOMAIN_LOOKUP_BY_NAME, pack_string("test")),
)
SHAPES = (
    ("1 conn x 50", ("-c", "1", "-d", "50"), 8.0),
    ("8 conn x 50", ("-c", "8", "-d", "50"), 8.0),
    ("one at a time", ("-c", "1", "-d", "1"), 1.2),
)
WORKLOADS = (
    *(
        Workload(f"{name}, {shape}", (*call, *how), (Target("rate", least), NO_SLOWER))
        for shape, how, least in SHAPES
        for name, call in SMALL_CALLS
    ),
    Workload("connection set-up", ("-m", "connect"), extra=("rate", "p50_us")),
    Workload("memory per idle client", ("-m", "idle"), extra=("bytes_per_client",), once=True),
    Workload(
        f"list_all_domains, {DOMAINS:,} domains",
        ("-p", str(CONNECT_LIST_ALL_DOMAINS), "-a", struct.pack(">iI", 1, 0).hex(), "-c", "1", "-d", "4"),
        (Target("rate", 20.0), NO_SLOWER),
        crowded=True,
    ),
)

UNITS = {"rate": "/s", "p50_us": "us p50", "bytes_per_client": "KiB"}


@dataclass
class Bench:
    """The compiled load generator and how long each of its runs takes (seconds)."""

    rpcload: Path
    transport: str
    seconds: float
    warmup: float
    results: dict[tuple[str, str], list[Result]] = field(default_factory=dict)

    def address(self, daemon: Daemon) -> str:
        """The daemon's address as rpcload takes it."""
        return f"127.0.0.1:{daemon.tcp_port}" if self.transport == "tcp" else str(daemon.unix)

    def measure(self, workload: Workload, daemon: Daemon) -> Result:
        """One run of one workload against one daemon.

        Raises:
            BenchError: rpcload failed, or the daemon answered with errors.
        """
        command = [str(self.rpcload), *workload.options]
        if "idle" in workload.options:
            return self._measure_idle([*command, "-c", str(IDLE_CLIENTS)], daemon)
        command += ["-t", str(self.seconds), "-w", str(self.warmup), self.address(daemon)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=self.seconds + 60, check=False)
        return _result(workload, daemon, done.returncode, done.stdout, done.stderr)

    def _measure_idle(self, command: Sequence[str], daemon: Daemon) -> Result:
        before = daemon.resident_bytes()
        load = subprocess.Popen(
            [*command, self.address(daemon)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert load.stdin is not None
        assert load.stdout is not None
        try:
            line = load.stdout.readline()
            grown = daemon.resident_bytes() - before
        finally:
            load.stdin.close()
            load.stdout.close()
            status = load.wait(60)
        if status != 0 or not line:
            raise BenchError(f"{daemon.name}: {IDLE_CLIENTS} idle clients: rpcload ended with {status}")
        return {"bytes_per_client": max(grown, 1) / IDLE_CLIENTS}

    def run(
        self, workloads: Sequence[Workload], daemons: Sequence[Daemon], note: Callable[[str], None]
    ) -> None:
        """One round: every workload, on each daemon in turn."""
        for workload in workloads:
            for daemon in daemons:
                result = self.measure(workload, daemon)
                self.results.setdefault((workload.label, daemon.name), []).append(result)
            note(".")


def check_sizes(bench: Bench, workloads: Sequence[Workload], names: tuple[str, str]) -> None:
    """See that both daemons' replies are of one size: else they do not do the same work.

    Raises:
        BenchError: they differ by more than what a run's last, half-read replies explain.
    """
    for workload in workloads:
        sizes = [
            statistics.median(run["bytes_in"] / run["calls"] for run in bench.results[workload.label, name])
            for name in names
            if "calls" in bench.results[workload.label, name][0]
        ]
        if sizes and abs(sizes[0] - sizes[1]) > 0.02 * sizes[0]:
            raise BenchError(f"{workload.label}: replies of {sizes[0]:.0f} bytes against {sizes[1]:.0f}")


def _result(workload: Workload, daemon: Daemon, status: int, out: str, err: str) -> Result:
    what = f"{daemon.name}: {workload.label}"
    if status != 0:
        raise BenchError(f"{what}: {err.strip() or f'rpcload ended with {status}'}\n{daemon.log()[-2000:]}")
    report = json.loads(out)
    if report["errors"]:
        raise BenchError(f"{what}: {report['errors']} error replies ({err.strip()})")
    return {key: float(value) for key, value in report.items() if key != "mode"}


@contextmanager
def compiled() -> Iterator[Path]:
    """The load generator, compiled into a temporary folder."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BenchError("no C compiler: install gcc, or name one in CC")
    with tempfile.TemporaryDirectory(prefix="rpcload-") as folder:
        program = Path(folder) / "rpcload"
        command = [compiler, "-O2", "-Wall", "-Wextra", "-std=c11", "-o", str(program), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(command)}\n{done.stderr}")
        yield program


@contextmanager
def _keeper(daemon: Daemon) -> Iterator[WireClient]:
    """A connection that keeps libvirt's test world from being reset, and defines what it is told."""
    with WireClient(str(daemon.unix), timeout=120) as client:
        client.open()
        yield client


def define_domains(client: WireClient, count: int) -> None:
    """Define that many small domains, of 8 MiB and one CPU each."""
    for number in range(count):
        xml = (
            f"<domain type='test'><name>bench-{number:05}</name><memory>8192</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        reply = client.call(REMOTE, DOMAIN_DEFINE_XML, pack_string(xml))
        if reply.status != 0:
            raise BenchError(f"domain {number} could not be defined: {reply.payload!r}")


def _median(results: Sequence[Result], metric: str) -> float:
    return statistics.median(result[metric] for result in results)


@dataclass(frozen=True)
class Row:
    """One comparison: a metric of a workload, both medians, their ratio, the verdict."""

    label: str
    metric: str
    libvirtd: float
    remotevirt: float
    target: Target | None

    @property
    def ratio(self) -> float:
        """remotevirt's median over libvirtd's."""
        return self.remotevirt / self.libvirtd

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        return None if self.target is None else self.target.reached(self.ratio)

    def report(self) -> dict[str, object]:
        """For the JSON file."""
        return {
            "workload": self.label,
            "metric": self.metric,
            "libvirtd": self.libvirtd,
            "remotevirt": self.remotevirt,
            "ratio": self.ratio,
            "target": self.target and str(self.target),
            "reached": self.reached,
        }


def compare(bench: Bench, workloads: Sequence[Workload], names: tuple[str, str]) -> list[Row]:
    """The rows of the table, in the order of the workloads."""
    rows = []
    for workload in workloads:
        base, ours = (bench.results[workload.label, name] for name in names)
        judged = [(target.metric, target) for target in workload.targets]
        for metric, target in [*judged, *((metric, None) for metric in workload.extra)]:
            rows.append(Row(workload.label, metric, _median(base, metric), _median(ours, metric), target))
    return rows


def _figure(value: float, metric: str) -> str:
    if metric == "bytes_per_client":
        return f"{value / 1024:.1f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    wide = max(len(row.label) for row in rows)
    lines = [f"{'':{wide}}  {'':7} {'libvirtd':>10} {'remotevirt':>10} {'ratio':>7}  target"]
    for row in rows:
        verdict = (
            "" if row.target is None else f"{row.target!s:7} {'reached' if row.reached else 'NOT REACHED'}"
        )
        base, ours = _figure(row.libvirtd, row.metric), _figure(row.remotevirt, row.metric)
        line = f"{row.label:{wide}}  {UNITS[row.metric]:7} {base:>10} {ours:>10} {row.ratio:>7.2f}  {verdict}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description="Measure remotevirt beside a libvirtd, in one run."
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each pair is measured (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (2)")
    parser.add_argument("--transport", choices=("unix", "tcp"), default="unix")
    parser.add_argument(
        "--libvirtd", choices=tuple(LIBVIRTD_SETTINGS), default="raised", help="see the module"
    )
    parser.add_argument("--option", action="append", default=[], help="a further option of twistd remotevirt")
    parser.add_argument("--only", default="", help="only workloads whose label contains this text")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a full report")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is not reached")
    parser.add_argument("--twice", action="store_true", help="libvirtd against itself: what noise looks like")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 0.3
    if options.rounds < 1 or not 0 < options.seconds <= 600:
        parser.error("at least one round, and measurements of at most 600 seconds")
    return options


def _measure(bench: Bench, options: argparse.Namespace) -> list[Row]:
    workloads = [workload for workload in WORKLOADS if options.only in workload.label]
    if not workloads:
        raise BenchError(f"no workload's label contains {options.only!r}")

    def note(text: str) -> None:
        print(text, end="", file=sys.stderr, flush=True)

    limits = {"max_clients": IDLE_CLIENTS * 2, "max_anonymous_clients": IDLE_CLIENTS * 2}
    with ExitStack() as stack:
        base = Libvirtd(settings={**limits, **LIBVIRTD_SETTINGS[options.libvirtd]})
        ours: Daemon
        if options.twice:
            ours = Libvirtd(settings={**base.settings})
            ours.name = "libvirtd again"
        else:
            ours = Remotevirt(options=options.option)
        daemons = [stack.enter_context(base), stack.enter_context(ours)]
        keepers = [stack.enter_context(_keeper(daemon)) for daemon in daemons]
        crowded = [workload for workload in workloads if workload.crowded]
        once = [workload for workload in workloads if workload.once]
        calm = [workload for workload in workloads if not (workload.crowded or workload.once)]
        bench.run(once, daemons, note)
        for _ in range(options.rounds):
            bench.run(calm, daemons, note)
        if crowded:
            for keeper in keepers:
                define_domains(keeper, DOMAINS)
        for _ in range(options.rounds if crowded else 0):
            bench.run(crowded, daemons, note)
        note("\n")
        names = (base.name, ours.name)
        check_sizes(bench, workloads, names)
        return compare(bench, workloads, names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status (1: a target missed and ``--check``; 2: could not run)."""
    options = _options(arguments)
    try:
        with compiled() as program:
            bench = Bench(program, options.transport, options.seconds, min(0.3, options.seconds / 4))
            rows = _measure(bench, options)
    except (BenchError, DaemonError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    judged = [row for row in rows if row.reached is not None]
    reached = sum(bool(row.reached) for row in judged)
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {options.transport}, "
        f"libvirtd's settings: {options.libvirtd}, median of {options.rounds} x {options.seconds:g} s"
    )
    print(table(rows))
    print(f"{reached} of {len(judged)} targets reached")
    if options.json:
        report = {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "transport": options.transport,
            "libvirtd": {"settings": options.libvirtd, **LIBVIRTD_SETTINGS[options.libvirtd]},
            "rounds": options.rounds,
            "seconds": options.seconds,
            "rows": [row.report() for row in rows],
            "runs": [
                {"workload": label, "daemon": name, "results": results}
                for (label, name), results in bench.results.items()
            ],
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if options.check and reached < len(judged) else 0


if __name__ == "__main__":
    sys.exit(main())
