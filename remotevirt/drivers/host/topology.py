"""How the host's CPUs are arranged: NUMA cells, sockets, dies, cores, threads, and caches.

::

    /sys/devices/system/cpu/{present,online}       0-3
    /sys/devices/system/cpu/cpu0/topology/         physical_package_id die_id core_id thread_siblings_list
    /sys/devices/system/cpu/cpu0/cache/index3/     level type size id shared_cpu_list
    /sys/devices/system/node/{online,node0/}       cpulist distance
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import attrs

from remotevirt.drivers.host.files import Files

__all__ = ["CPUS", "NODES", "CacheBank", "Cell", "Cpu", "Topology", "read_caches", "read_topology"]

CPUS: Final = "/sys/devices/system/cpu"
NODES: Final = "/sys/devices/system/node"

CACHE_LEVEL: Final = 3
"""The first level of caches that libvirt lists: those below belong to one core."""


@attrs.frozen
class Cpu:
    """A logical CPU and where it is; ``siblings`` are the CPUs of its core, itself among them."""

    id: int
    socket: int
    die: int
    core: int
    siblings: tuple[int, ...]


@attrs.frozen
class Cell:
    """A NUMA cell: its CPUs that are online, and how far it is from each cell (``(id, distance)``)."""

    id: int
    cpus: tuple[Cpu, ...]
    distances: tuple[tuple[int, int], ...] = ()


@attrs.frozen
class Topology:
    """The figures of ``node_get_info``, and what they are made of.

    Attributes:
        count: the number of CPUs that are present: the largest id and one.
        online: the ids of those that are on.
        cells: the NUMA cells; one that holds everything where the kernel knows of none.
        has_numa: whether the kernel knows of them.
        nodes, sockets, cores, threads: cells, sockets in a cell, cores in a socket, threads in a core.
    """

    count: int
    online: tuple[int, ...]
    cells: tuple[Cell, ...]
    has_numa: bool
    nodes: int
    sockets: int
    cores: int
    threads: int


@attrs.frozen
class CacheBank:
    """A cache that several cores share; its size is in bytes."""

    level: int
    kind: str
    id: int
    size: int
    cpus: tuple[int, ...]


def _read_cpu(files: Files, number: int) -> Cpu:
    where = f"{CPUS}/cpu{number}/topology"
    package, die, core = (
        files.number(f"{where}/{name}") or 0 for name in ("physical_package_id", "die_id", "core_id")
    )
    siblings = files.numbers(f"{where}/thread_siblings_list") or [number]
    # A package or die that the kernel does not know is -1.
    return Cpu(number, max(package, 0), max(die, 0), max(core, 0), tuple(siblings))


def _read_distances(files: Files, cell: int, cells: list[int]) -> tuple[tuple[int, int], ...]:
    words = (files.read(f"{NODES}/node{cell}/distance") or "").split()
    pairs = zip(cells, words, strict=False)
    return tuple((other, int(word)) for other, word in pairs if word.isdecimal() and int(word))


def read_topology(files: Files) -> Topology:
    """Read the topology: some files for each CPU."""
    present = files.numbers(f"{CPUS}/present") or [0]
    online = files.numbers(f"{CPUS}/online") or present
    cpus = {number: _read_cpu(files, number) for number in online}
    ids = files.numbers(f"{NODES}/online")
    cells = []
    for cell in ids:
        inside = files.numbers(f"{NODES}/node{cell}/cpulist")
        held = tuple(cpus[number] for number in inside if number in cpus)
        cells.append(Cell(cell, held, _read_distances(files, cell, ids)))
    has_numa = bool(cells)
    if not has_numa:
        cells.append(Cell(0, tuple(cpus.values())))
    sockets, cores, threads = _arrangement(cells)
    nodes = len(cells)
    if nodes * sockets * cores * threads != len(present):
        # What is not regular is told as one socket with so many cores, as libvirt does.
        nodes, sockets, cores, threads = 1, 1, len(present), 1
    return Topology(max(present) + 1, tuple(online), tuple(cells), has_numa, nodes, sockets, cores, threads)


def _arrangement(cells: list[Cell]) -> tuple[int, int, int]:
    """Return the most sockets of a cell, cores of a socket and threads of a core.

    As libvirt 9.0.0 counts: a core is told by its number, which dies of a socket may have in common.
    """
    sockets = cores = threads = 1
    for cell in cells:
        inside: defaultdict[int, set[int]] = defaultdict(set)
        for cpu in cell.cpus:
            inside[cpu.socket].add(cpu.core)
            threads = max(threads, len(cpu.siblings))
        sockets = max(sockets, len(inside))
        cores = max([cores, *map(len, inside.values())])
    return sockets, cores, threads


def read_caches(files: Files, online: tuple[int, ...]) -> list[CacheBank]:
    """Read the caches of level 3 and above, in the order of libvirt's list."""
    kinds = {"Data": "data", "Instruction": "code", "Unified": "both"}
    banks = {}
    for cpu in online:
        for index in files.names(f"{CPUS}/cpu{cpu}/cache"):
            where = f"{CPUS}/cpu{cpu}/cache/{index}"
            level, number = files.number(f"{where}/level"), files.number(f"{where}/id")
            kind = kinds.get(files.read(f"{where}/type", 32) or "")
            size = (files.read(f"{where}/size", 32) or "").removesuffix("K")
            if level is None or level < CACHE_LEVEL or number is None or kind is None or not size.isdecimal():
                continue
            shared = tuple(files.numbers(f"{where}/shared_cpu_list"))
            banks[level, kind, number] = CacheBank(level, kind, number, int(size) * 1024, shared)
    return [banks[key] for key in sorted(banks)]
