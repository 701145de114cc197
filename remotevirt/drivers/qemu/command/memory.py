"""The guest's memory: what backs it on the host, NUMA cells, and memory that is plugged in. Sizes are KiB."""

from __future__ import annotations

from typing import Any, Final

from remotevirt.drivers.qemu.command.parts import Part, comma_list, option
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed
from remotevirt.xml.bitmap import parse_bitmap
from remotevirt.xml.domain.address import DimmAddress
from remotevirt.xml.domain.memory_device import MemoryDevice
from remotevirt.xml.domain.tuning import HugePage, MemoryBacking

__all__ = ["default_memory", "memory_parts", "numa_parts", "parts_of_memory"]

MIB: Final = 1024
"""KiB in a MiB."""

_POLICIES: Final = {"strict": "bind", "preferred": "preferred", "interleave": "interleave"}
"""libvirt's placing of memory in QEMU's words."""

_UNITS: Final = {"B": 1 / 1024, "KiB": 1, "MiB": 1024, "GiB": 1024**2, "TiB": 1024**3}


def default_memory(setting: Setting) -> str | None:
    """Return the id of the object that backs all of the memory; None if each NUMA cell has its own."""
    if setting.model.cpu is not None and setting.model.cpu.numa is not None:
        return None
    machine = setting.emulator.machine(setting.machine)
    found = machine.default_memory if machine is not None else None
    return found or ("pc.ram" if setting.is_x86 else "mach-virt.ram")


def _initial(setting: Setting) -> int:
    """The memory that is there at the start, without what is plugged in, rounded up to a MiB."""
    model = setting.model
    plugged = sum(one.target.size for one in model.devices.memories if one.target is not None)
    initial = model.memory - plugged
    if initial <= 0:
        raise unsupported("the memory of the domain is smaller than its memory devices")
    return -(-initial // MIB) * MIB


def memory_parts(setting: Setting) -> list[Part]:
    """Return ``-m`` and what backs the memory. Raises VirError where the host cannot."""
    model = setting.model
    size = _initial(setting)
    if model.max_memory:
        parts = [option("-m", f"size={size}k,slots={model.memory_slots},maxmem={model.max_memory}k")]
    else:
        parts = [option("-m", str(size // MIB))]
    name = default_memory(setting)
    if name is not None:
        parts.append(_backing(setting, name, size, whole=True))
    backing = model.memory_backing
    parts.append(option("-overcommit", comma_list(mem_lock=backing is not None and backing.locked)))
    return parts


def _page(setting: Setting, cell: int | None) -> HugePage | None:
    """The huge page that a NUMA cell's memory consists of."""
    backing = setting.model.memory_backing
    if backing is None or backing.hugepages is None:
        return None
    pages = backing.hugepages.pages
    for page in pages:
        if page.nodeset is not None and cell is not None and cell in parse_bitmap(page.nodeset):
            return page
    general = [page for page in pages if page.nodeset is None]
    if general:
        return general[0]
    if pages:
        return None
    return HugePage()


def _huge_folder(setting: Setting, page: HugePage) -> tuple[int, str]:
    mounts = setting.surroundings.hugepages
    wanted = int(page.size * _UNITS.get(page.unit or "KiB", 1)) if page.size else 0
    if not mounts:
        text = "hugetlbfs filesystem is not mounted or disabled by administrator config"
        raise InternalError(text, domain=c.VIR_FROM_QEMU)
    if not wanted:
        wanted = min(mounts)
    if wanted not in mounts:
        text = f"Unable to find any usable hugetlbfs mount for {wanted} KiB"
        raise InternalError(text, domain=c.VIR_FROM_QEMU)
    return wanted, mounts[wanted]


def _backing(
    setting: Setting,
    name: str,
    size: int,
    *,
    cell: int | None = None,
    access: str | None = None,
    discard: bool | None = None,
    whole: bool = False,
) -> Part:
    """The object that backs a piece of memory, or the whole."""
    backing = setting.model.memory_backing or MemoryBacking()
    source = backing.source
    page = _page(setting, cell)
    values: dict[str, Any] = {"id": name}
    if source == "memfd":
        kind = "memory-backend-memfd"
        if page is not None:
            values |= {"hugetlb": True, "hugetlbsize": _huge_folder(setting, page)[0] * 1024}
    elif page is not None:
        kind = "memory-backend-file"
        values["mem-path"] = _huge_folder(setting, page)[1]
    elif source == "file":
        kind = "memory-backend-file"
        folder = setting.surroundings.memory_folder or setting.surroundings.folder
        # QEMU makes the file, so that nobody need give it to the guest.
        values["mem-path"] = f"{folder}/{name}"
    else:
        kind = "memory-backend-ram"
    if kind == "memory-backend-file":
        wanted = backing.discard if discard is None else discard
        if wanted:
            values["discard-data"] = True
    shared = access or backing.access
    if shared is not None:
        values["share"] = shared == "shared"
    if whole and kind != "memory-backend-ram" and not setting.is_virt:
        values["x-use-canonical-path-for-ramblock-id"] = False
    if (backing.allocation is not None and backing.allocation.mode == "immediate") or page is not None:
        values["prealloc"] = True
        if backing.allocation is not None and backing.allocation.threads is not None:
            values["prealloc-threads"] = backing.allocation.threads
    values["size"] = size * 1024
    values |= _placing(setting, cell)
    return Part("object", {"qom-type": kind, **values})


def _placing(setting: Setting, cell: int | None) -> dict[str, Any]:
    """On which nodes of the host the memory is."""
    tune = setting.model.numatune
    if tune is None:
        return {}
    mode = nodes = None
    if tune.memory is not None and tune.memory.placement == "auto":
        text = "Failed to query numad for the advisory nodeset"  # it is never asked
        raise OperationFailed(text, domain=c.VIR_FROM_QEMU)
    if tune.memory is not None:
        mode, nodes = tune.memory.mode, tune.memory.nodeset
    for node in tune.memnodes:
        if cell is not None and node.cellid == cell:
            mode, nodes = node.mode, node.nodeset
    if nodes is None:
        return {}
    if mode == "restrictive":
        return {}  # a matter of control groups alone
    policy = _POLICIES.get(mode or "strict")
    if policy is None:
        raise unsupported(f"NUMA memory mode '{mode}' is not supported with this QEMU")
    return {"host-nodes": sorted(parse_bitmap(nodes)), "policy": policy}


def numa_parts(setting: Setting) -> list[Part]:
    """Return the NUMA cells, each with its memory, and their distances."""
    numa = setting.model.cpu.numa if setting.model.cpu is not None else None
    if numa is None:
        return []
    parts: list[Part] = []
    distances: list[Part] = []
    for position, cell in enumerate(numa.cells):
        number = position if cell.id is None else cell.id
        name = f"ram-node{number}"
        size = -(-cell.memory // MIB) * MIB
        parts.append(_backing(setting, name, size, cell=number, access=cell.access, discard=cell.discard))
        words = ["node", f"nodeid={number}"]
        words += [f"cpus={piece}" for piece in (cell.cpus or "").split(",") if piece]
        parts.append(option("-numa", ",".join([*words, f"memdev={name}"])))
        for sibling in cell.distances.siblings if cell.distances is not None else ():
            distances.append(option("-numa", f"dist,src={number},dst={sibling.id},val={sibling.value}"))
    return parts + distances


def parts_of_memory(setting: Setting, device: MemoryDevice) -> list[Part]:
    """Return a piece of memory that is plugged in. Raises VirError for kinds other than DIMMs."""
    if device.model != "dimm":
        raise unsupported(f"{device.model} isn't supported by this QEMU binary")
    target = device.target
    if target is None:
        raise unsupported("memory device lacks a target")
    if not setting.model.max_memory:
        raise unsupported("cannot use/hotplug a memory device when domain 'maxMemory' is not defined")
    if device.source is not None and any(
        (device.source.path, device.source.pagesize, device.source.nodemask, device.source.alignsize)
    ):
        raise unsupported("sources of memory devices are not supported")
    alias = alias_of(device.info, "memory")
    backing = _backing(
        setting,
        f"mem{alias}",
        target.size,
        cell=target.node,
        access=device.access,
        discard=device.discard,
    )
    values: dict[str, Any] = {"driver": "pc-dimm"}
    if target.node is not None:
        values["node"] = target.node
    values |= {"memdev": f"mem{alias}", "id": alias}
    address = device.info.address
    if isinstance(address, DimmAddress):
        if address.slot is not None:
            values["slot"] = address.slot
        if address.base is not None:
            values["addr"] = address.base
    return [backing, Part("device", values)]
