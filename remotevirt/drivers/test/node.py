"""The host that a world pretends to run on, and its capabilities.

The default host is libvirt's: sixteen 1.4 GHz CPUs of model i686 in two NUMA cells, 3 GiB of memory. A
node file may say otherwise for everything but the cells: its host has none.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["PAGE_SIZES", "Cell", "Node", "default_node"]

PAGE_SIZES: Final = (4, 8, 2048, 1048576)
"""In KiB, as the capabilities list them."""


@attrs.frozen
class Cell:
    """A NUMA cell.

    Attributes:
        memory, free: in KiB.
        page_size: of its small pages, in KiB.
        pages: how many small pages it has.
        cpus: the ids of its CPUs.
    """

    memory: int
    free: int
    page_size: int
    pages: int
    cpus: range


@attrs.frozen
class Node:
    """The figures of ``node_get_info``; ``memory`` in KiB, ``mhz`` of one CPU."""

    model: str = "i686"
    memory: int = 3145728
    cpus: int = 16
    mhz: int = 1400
    nodes: int = 2
    sockets: int = 2
    cores: int = 2
    threads: int = 2
    cells: tuple[Cell, ...] = ()

    def capabilities(self) -> str:
        """Return the capabilities document, to the byte as libvirt 9.0.0's test driver has it."""
        pages = "".join(f"      <pages unit='KiB' size='{size}'/>\n" for size in PAGE_SIZES)
        cells = "".join(_cell(number, cell) for number, cell in enumerate(self.cells))
        guests = "".join(GUEST.format(kind=kind) for kind in ("hvm", "xen"))
        return HOST.format(pages=pages, count=len(self.cells), cells=cells) + guests + "</capabilities>\n"


def _cell(number: int, cell: Cell) -> str:
    """Return a cell's part of the capabilities."""
    cpus = "".join(
        f"            <cpu id='{cpu}' socket_id='{number}' die_id='0' core_id='{core}' siblings='{cpu}'/>\n"
        for core, cpu in enumerate(cell.cpus)
    )
    return (
        f"        <cell id='{number}'>\n"
        f"          <memory unit='KiB'>{cell.memory}</memory>\n"
        f"          <pages unit='KiB' size='{cell.page_size}'>{cell.pages}</pages>\n"
        "          <pages unit='KiB' size='2048'>0</pages>\n"
        "          <pages unit='KiB' size='1048576'>0</pages>\n"
        f"          <cpus num='{len(cell.cpus)}'>\n{cpus}          </cpus>\n"
        "        </cell>\n"
    )


def default_node() -> Node:
    """Return the host of ``test:///default``."""
    cells = tuple(
        Cell(
            memory=(number + 1) * 2048 * 1024,
            free=(number + 1) * 1024 * 1024,
            page_size=4 * (number + 1),
            pages=512 * 1024,
            cpus=range(8 * number, 8 * number + 8),
        )
        for number in range(2)
    )
    return Node(cells=cells)


HOST: Final = """\
<capabilities>

  <host>
    <cpu>
      <arch>i686</arch>
      <features>
        <pae/>
        <nonpae/>
      </features>
{pages}    </cpu>
    <power_management/>
    <iommu support='no'/>
    <topology>
      <cells num='{count}'>
{cells}      </cells>
    </topology>
    <secmodel>
      <model>testSecurity</model>
      <doi></doi>
    </secmodel>
  </host>

"""

GUEST: Final = """\
  <guest>
    <os_type>{kind}</os_type>
    <arch name='i686'>
      <wordsize>32</wordsize>
      <emulator>/usr/bin/test-hv</emulator>
      <domain type='test'/>
    </arch>
    <features>
      <pae/>
      <nonpae/>
    </features>
  </guest>

"""
