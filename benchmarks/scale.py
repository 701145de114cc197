"""``python -m benchmarks.scale``: one world with many domains, half of them running.

What is measured: how long the daemon takes from its start until a client has the whole list, with everything
in a store; then calls one at a time on a UNIX socket, in a world of :data:`FEW` domains and in one of
:data:`MANY`, and the memory. A call whose answer does not grow should cost the same in both. libvirtd's test
driver keeps nothing, so there the domains are defined over the wire first.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.store import DomainRow, Store
from remotevirt.stubs import constants as c
from remotevirt.stubs import remote
from remotevirt.stubs.remote import NonnullDomain
from tests.interop.daemons import Daemon, Libvirtd, Remotevirt, find_libvirtd
from tests.wire import REMOTE, WireClient

__all__ = ["call", "main", "measure", "render", "shown", "simple_table", "timed"]

FEW, MANY = 100, 10_000

SECONDS = 1.0
"""How long each call is measured, at least :data:`LEAST` times."""

LEAST = 5

DOCUMENT = """\
<domain type='test'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='KiB'>8388608</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  <vcpu>2</vcpu>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><source file='/images/{name}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='{mac}'/><source network='default'/></interface>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""

ROWS = {
    "start": "start until a client has the list",
    "world": "of that, until the world is there",
    "define_all": "all domains defined, half started",
    "list": "list_all_domains",
    "lookup": "lookup_by_name",
    "info": "domain_get_info",
    "xml": "domain_get_xml_desc",
    "stats_first": "statistics of all, the first time",
    "stats": "statistics of all",
    "define": "define a domain anew",
    "suspend": "suspend and resume",
    "memory": "resident memory",
}

Figures = dict[str, float]


def name_of(number: int) -> str:
    """The name of a domain."""
    return f"guest-{number:05d}"


def document_of(number: int) -> str:
    """The document of a domain."""
    name = name_of(number)
    digits = f"{number:06x}"
    mac = f"52:54:00:{digits[:2]}:{digits[2:4]}:{digits[4:]}"
    return DOCUMENT.format(name=name, uuid=uuid5(NAMESPACE_URL, name), mac=mac)


def ref_of(number: int) -> NonnullDomain:
    """The reference to a domain."""
    name = name_of(number)
    return NonnullDomain(name, uuid5(NAMESPACE_URL, name).bytes, -1)


def fill(path: str, count: int) -> None:
    """Make a store with domains, of which every other starts with the host."""

    def rows() -> Iterator[DomainRow]:
        for number in range(count):
            found = TestDefinition.parse(document_of(number))
            figures = (found.size, found.max_memory, found.memory, found.vcpus)
            flags = (number % 2, 0, None, None)
            yield DomainRow(found.uuid, number + 1, found.name, found.document(), *figures, *flags)

    Store.create(path, rows()).close()


def call(client: WireClient, procedure: str, *arguments: object) -> bytes:
    """Call a procedure of the remote program; returns the reply's payload."""
    row = remote.PROGRAM.by_name[procedure]
    reply = client.call(REMOTE, row.number, b"" if row.args is None else row.args(*arguments).pack())
    if reply.status:
        raise RuntimeError(f"{procedure}: {reply.payload!r}")
    return reply.payload


def timed(what: Callable[[int], object]) -> float:
    """Return the median time of a call in seconds; it is told how often it was called."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < LEAST or time.perf_counter() < end:
        began = time.perf_counter()
        what(len(times))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(daemon: Daemon, client: WireClient, count: int) -> Figures:
    """Measure the calls in a world of so many domains."""

    def on(procedure: str, *more: object) -> Callable[[int], object]:
        return lambda turn: call(client, procedure, ref_of(turn * 7919 % count), *more)

    def stats(_: int) -> object:
        return call(client, "connect_get_all_domain_stats", (), 0, 0)

    def list_all(_: int) -> object:
        return call(client, "connect_list_all_domains", 1, 0)

    def lookup(turn: int) -> object:
        return call(client, "domain_lookup_by_name", name_of(turn * 7919 % count))

    def define(turn: int) -> object:
        return call(client, "domain_define_xml", document_of(turn * 7919 % count))

    def suspend(turn: int) -> object:
        ref = ref_of((turn * 7919 % (count // 2)) * 2 + 1)
        call(client, "domain_suspend", ref)
        return call(client, "domain_resume", ref)

    figures = {
        "list": timed(list_all),
        "lookup": timed(lookup),
        "info": timed(on("domain_get_info")),
        "xml": timed(on("domain_get_xml_desc", c.VIR_DOMAIN_XML_SECURE)),
    }
    began = time.perf_counter()
    stats(0)
    figures["stats_first"] = time.perf_counter() - began
    figures["stats"] = timed(stats)
    figures["define"] = timed(define)
    figures["suspend"] = timed(suspend)
    figures["memory"] = float(daemon.resident_bytes())
    return figures


def measure_remotevirt(count: int) -> Figures:
    """Start remotevirt on a store with so many domains, and measure."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        (Path(folder) / "test").mkdir()
        fill(f"{folder}/test/default.db", count)
        daemon = Remotevirt(driver="test", options=["--state", folder])
        began = time.perf_counter()
        with daemon, WireClient(str(daemon.unix), timeout=120) as client:
            client.open()
            call(client, "connect_list_all_domains", 1, 0)
            start = time.perf_counter() - began
            found = re.search(r"default\.db: \d+ domains, in ([0-9.]+) seconds", daemon.log())
            assert found is not None, daemon.log()
            return {"start": start, "world": float(found[1]), **measure(daemon, client, count)}


def measure_libvirtd(count: int) -> Figures:
    """Start libvirtd, define so many domains, and measure."""
    with Libvirtd() as daemon, WireClient(str(daemon.unix), timeout=120) as client:
        client.open()
        began = time.perf_counter()
        for number in range(count):
            call(client, "domain_define_xml", document_of(number))
            if number % 2:
                call(client, "domain_create", ref_of(number))
        return {"define_all": time.perf_counter() - began, **measure(daemon, client, count)}


def shown(row: str, value: float | None) -> str:
    """A figure, in a unit that suits it."""
    if value is None:
        return ""
    if row == "memory":
        return f"{value / 2**20:.0f} MiB"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.{1 if value * factor < 10 else 0}f} {unit}"
    return f"{value * 1e6:.1f} µs"


def render(columns: dict[str, Figures]) -> str:
    """A table in reStructuredText."""
    lines = [
        [text, *(shown(row, figures.get(row)) for figures in columns.values())] for row, text in ROWS.items()
    ]
    return simple_table([["", *columns], *(line for line in lines if any(line[1:]))])


def simple_table(table: Sequence[Sequence[str]]) -> str:
    """Lines of cells, the first one the head, as a simple table of reStructuredText."""
    widths = [max(len(line[place]) for line in table) for place in range(len(table[0]))]
    widths[0] = max(widths[0], 1)
    rule = "  ".join("=" * width for width in widths)
    body = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    body[0] = "\\ " + body[0][2:]
    return "\n".join([rule, body[0], rule, *body[1:], rule])


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each call is measured")
    chosen = parser.parse_args(arguments)
    globals()["SECONDS"] = chosen.seconds
    columns: dict[str, Any] = {}
    for count in (chosen.few, chosen.many):
        columns[f"remotevirt, {count:,}"] = measure_remotevirt(count)
        if find_libvirtd() is not None:
            columns[f"libvirtd, {count:,}"] = measure_libvirtd(count)
    print(render(columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
