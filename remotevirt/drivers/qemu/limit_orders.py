"""What a definition asks of control groups: orders to carry out, for a guest and for each of its threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.iothreads import iothread_pin
from remotevirt.drivers.qemu.control_groups.group import (
    DEVICE_LIMITS,
    MEMORY_LIMITS,
    ControlGroup,
)
from remotevirt.drivers.qemu.control_groups.layout import EMULATOR
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported
from remotevirt.xml.bitmap import format_mask, parse_mask
from remotevirt.xml.domain import DomainModel

__all__ = ["Order", "carry_out", "check_limits", "guest_orders", "thread_orders"]

Order = Callable[[ControlGroup], None]
"""Something that is written into a guest's groups. Raises VirError."""

BANDWIDTH: Final = {"": "global_", EMULATOR: "emulator_", "vcpu": "", "iothread": "iothread_"}
"""Groups: how ``<cputune>`` calls their period and quota."""


def check_limits(model: DomainModel, controllers: frozenset[str]) -> None:
    """Refuse a definition that asks for what controllers would have to do that there are not.

    Raises:
        ConfigUnsupported: it does.
    """
    tune, blkio, memory = model.cputune, model.blkiotune, model.memtune
    text = ""
    if model.resource is not None and model.resource.fibrechannel is not None:
        text = "Fibre channel applications are not available on this host"
    elif memory is not None and memory.min_guarantee is not None:
        text = "Parameter 'min_guarantee' not supported by QEMU."
    elif "blkio" not in controllers and blkio is not None and (blkio.weight or blkio.devices):
        text = "Block I/O tuning is not available on this host"
    elif "memory" not in controllers and any(
        _memory_limit(model, name) is not None for name in MEMORY_LIMITS
    ):
        text = "Memory cgroup is not available on this host"
    elif "cpu" not in controllers and tune is not None and tune.shares is not None:
        text = "CPU tuning is not available on this host"
    elif "cpu" not in controllers and any(any(_bandwidth(model, name)) for name in BANDWIDTH):
        text = "cgroup cpu is required for scheduler tuning"
    elif "cpuset" not in controllers and _is_restrictive(model):
        text = "cgroup cpuset is required for NUMA memory mode 'restrictive'"
    if text:
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


def _memory_limit(model: DomainModel, name: str) -> int | None:
    limit: int | None = getattr(model.memtune, name, None)
    return limit


def _bandwidth(model: DomainModel, kind: str) -> tuple[int | None, int | None]:
    """Return what a definition says of period and quota of a kind of groups."""
    prefix = BANDWIDTH[kind]
    return getattr(model.cputune, f"{prefix}period", None), getattr(model.cputune, f"{prefix}quota", None)


def _is_restrictive(model: DomainModel) -> bool:
    cells = model.numatune.memnodes if model.numatune is not None else []
    return _mode(model) == "restrictive" or any(cell.mode == "restrictive" for cell in cells)


def _mode(model: DomainModel) -> str | None:
    memory = model.numatune.memory if model.numatune is not None else None
    return memory.mode if memory is not None and memory.nodeset else None


def mems_of(model: DomainModel) -> str | None:
    """Return from which of the host's nodes a guest may get memory, None for all of them."""
    tune = model.numatune
    if tune is None or tune.memory is None or _mode(model) not in ("strict", "restrictive"):
        return None
    nodes = parse_mask(tune.memory.nodeset or "")
    for cell in tune.memnodes:
        nodes |= parse_mask(cell.nodeset or "")
    return format_mask(nodes)


def guest_orders(model: DomainModel, group: ControlGroup) -> list[Order]:
    """Return what counts for a guest as a whole."""
    orders: list[Order] = []
    if model.blkiotune is not None:
        weight = model.blkiotune.weight
        if weight:
            orders.append(lambda one: one.set_weight(weight))
        for device in model.blkiotune.devices:
            for name in DEVICE_LIMITS:
                limit = getattr(device, name)
                if limit:
                    orders.append(_limit_device(name, device.path or "", limit))
    for name in MEMORY_LIMITS:
        limit = _memory_limit(model, name)
        if limit is not None:
            orders.append(_limit_memory(name, limit))
    shares = None if model.cputune is None else model.cputune.shares
    if shares is not None:
        orders.append(lambda one: one.set_shares(shares))
    return orders + _bandwidth_orders(model, "", "")


def _limit_device(name: str, path: str, limit: int) -> Order:
    return lambda group: group.set_device_limit(name, path, limit)


def _limit_memory(name: str, limit: int) -> Order:
    return lambda group: group.set_memory_limit(name, limit)


def _bandwidth_orders(model: DomainModel, kind: str, name: str) -> list[Order]:
    period, quota = _bandwidth(model, kind)
    orders: list[Order] = []
    if period:
        orders.append(lambda group: group.set_period(name, period))
    if quota:
        orders.append(lambda group: group.set_quota(name, quota))
    return orders


def thread_orders(live: Definition, name: str, group: ControlGroup) -> list[Order]:
    """Return what makes and fills the group of a thread: ``emulator``, ``vcpu0``, ``iothread1``."""
    orders: list[Order] = [lambda one: one.add(name)]
    if "cpuset" in group.controllers:
        cpus, mems = _cpus(live, name), mems_of(live.model)
        if cpus is not None:
            orders.append(lambda one: one.set_cpuset(name, "cpus", format_mask(cpus)))
        if mems is not None:
            orders.append(lambda one: one.set_cpuset(name, "mems", mems))
    return orders + _bandwidth_orders(live.model, name.rstrip("0123456789"), name)


def _cpus(live: Definition, name: str) -> int | None:
    """Return where a thread may run, as its definition says; None for anywhere."""
    if name == EMULATOR:
        pin = live.emulator_pin
    elif name.startswith("vcpu"):
        pin = live.vcpu_pin(int(name.removeprefix("vcpu")))
    else:
        pin = iothread_pin(live.model, int(name.removeprefix("iothread")))
    return live.cpu_mask if pin is None else pin


def carry_out(group: ControlGroup, orders: Sequence[Order]) -> None:
    for order in orders:
        order(group)
