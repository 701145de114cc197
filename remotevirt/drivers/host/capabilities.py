"""The ``<host>`` of a capabilities document, as libvirt 9.0.0's QEMU driver prints it.

Not said are what libvirt learns from resctrl (how caches and memory bandwidth can be divided) and ways to
sleep, which this driver does not offer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from remotevirt.drivers.host.host import Host
from remotevirt.drivers.host.topology import CacheBank, Cell, Topology, read_caches
from remotevirt.xml.bitmap import format_bitmap
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["cpu_tag", "host_xml"]

IOMMU_GROUPS: Final = "/sys/kernel/iommu_groups"

TRANSPORTS: Final = ("tcp", "rdma")
"""How guests can migrate."""

UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))


def host_xml(host: Host) -> str:
    """Return the element with a line end after it, indented as it stands in ``<capabilities>``.

    It reads files of every CPU and asks KVM: call it from a thread.
    """
    topology = host.topology()
    root = Tag("host")
    root.add(leaf("uuid", host.uuid))
    root.add(cpu_tag(host))
    root.add(Tag("power_management"))
    root.add(Tag("iommu").set("support", "yes" if host.files.names(IOMMU_GROUPS) else "no"))
    migration = Tag("migration_features")
    migration.add(Tag("live"))
    transports = Tag("uri_transports")
    for name in TRANSPORTS:
        transports.add(leaf("uri_transport", name))
    migration.add(transports)
    root.add(migration)
    inner = Tag("topology")
    cells = Tag("cells").set("num", len(topology.cells))
    for cell in topology.cells:
        cells.add(_cell_tag(host, topology, cell))
    inner.add(cells)
    root.add(inner)
    banks = read_caches(host.files, topology.online)
    if banks:
        cache = Tag("cache")
        for bank in banks:
            cache.add(_bank_tag(bank))
        root.add(cache)
    for tag in _security(host):
        root.add(tag)
    return render(root, "  ")


def cpu_tag(host: Host) -> Tag:
    """Return the ``<cpu>`` of the host."""
    processor, topology = host.processor, host.topology()
    tag = Tag("cpu")
    tag.add(leaf("arch", processor.arch))
    if processor.model is not None:
        tag.add(leaf("model", processor.model))
    if processor.vendor is not None:
        tag.add(leaf("vendor", processor.vendor))
    if processor.microcode is not None:
        tag.add(Tag("microcode").set("version", processor.microcode))
    if processor.signature is not None:
        family, model, stepping = processor.signature
        tag.add(Tag("signature").set("family", family).set("model", model).set("stepping", stepping))
    if host.tsc is not None:
        frequency, scales = host.tsc
        counter = Tag("counter").set("name", "tsc").set("frequency", frequency)
        tag.add(counter.set("scaling", "yes" if scales else "no"))
    layout = Tag("topology").set("sockets", topology.sockets).set("dies", 1)
    tag.add(layout.set("cores", topology.cores).set("threads", topology.threads))
    if processor.address_bits is not None:
        tag.add(Tag("maxphysaddr").set("mode", "emulate").set("bits", processor.address_bits))
    for name in processor.features:
        tag.add(Tag("feature").set("name", name))
    for size in host.memory.page_sizes():
        tag.add(Tag("pages").set("unit", "KiB").set("size", size))
    return tag


def _cell_tag(host: Host, topology: Topology, cell: Cell) -> Tag:
    tag = Tag("cell").set("id", cell.id)
    memory = leaf("memory", host.memory.figures(cell.id).get("MemTotal", 0))
    tag.add(memory.set("unit", "KiB"))
    if topology.has_numa:
        for size in host.memory.page_sizes():
            pages = leaf("pages", host.memory.pages(size, cell.id)[0])
            tag.add(pages.set("unit", "KiB").set("size", size))
    if cell.distances:
        distances = Tag("distances")
        for other, distance in cell.distances:
            distances.add(Tag("sibling").set("id", other).set("value", distance))
        tag.add(distances)
    cpus = Tag("cpus").set("num", len(cell.cpus))
    for cpu in cell.cpus:
        made = Tag("cpu").set("id", cpu.id).set("socket_id", cpu.socket).set("die_id", cpu.die)
        cpus.add(made.set("core_id", cpu.core).set("siblings", format_bitmap(set(cpu.siblings))))
    tag.add(cpus)
    return tag


def _bank_tag(bank: CacheBank) -> Tag:
    scale, unit = next(one for one in UNITS if bank.size % one[0] == 0)
    tag = Tag("bank").set("id", bank.id).set("level", bank.level).set("type", bank.kind)
    tag.set("size", bank.size // scale).set("unit", unit)
    return tag.set("cpus", format_bitmap(set(bank.cpus)))


def _security(host: Host) -> Iterable[Tag]:
    """Return what confines guests: nothing, and if the daemon can choose it, the user that they run as."""
    none = Tag("secmodel")
    none.add(leaf("model", "none"))
    none.add(leaf("doi", 0))
    yield none
    if host.base_label is None:
        return
    dac = Tag("secmodel")
    dac.add(leaf("model", "dac"))
    dac.add(leaf("doi", 0))
    for kind in ("kvm", "qemu"):
        label = leaf("baselabel", host.base_label)
        dac.add(label.set("type", kind))
    yield dac
