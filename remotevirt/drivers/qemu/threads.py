"""Which of the host's CPUs the threads of a guest may run on.

A guest's QEMU has a thread for each virtual CPU and each IO thread, and some for everything else, which
libvirt calls the emulator. QEMU says which is which, and may lie where a guest has taken it over: no thread
of another process is ever touched. What they are bound to by control groups is in ``limits``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from remotevirt.drivers.domains.definition import Definition
from remotevirt.drivers.domains.iothreads import iothread_pin, threads_of
from remotevirt.drivers.qemu.figures import task_figures, thread_ids
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.limits import place_thread, tell_tuned
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, OperationInvalid, VirSystemError
from remotevirt.typed_params import string
from remotevirt.xml.bitmap import format_mask, parse_bitmap

__all__ = [
    "check_nodes",
    "check_tuning",
    "find_iothreads",
    "host_cpus",
    "iothread_cpus",
    "pin_emulator",
    "pin_thread",
    "settle_threads",
    "tell_tunable",
]

MAX_IOTHREADS: Final = 1024
"""IO threads that are taken of an answer."""

NODE: Final = "/sys/devices/system/node/node{}"
"""What is there of a node that the host has."""


def host_cpus() -> int:
    """Return how many CPUs the host has."""
    return os.cpu_count() or 1


def check_tuning(definition: Definition) -> None:
    """Refuse a definition that asks for what only a real-time scheduler, or resctrl, can do.

    Raises:
        ConfigUnsupported: it does.
    """
    tune = definition.model.cputune
    if tune is None:
        return
    text = ""
    if tune.emulatorsched is not None or tune.vcpusched or tune.iothreadsched:
        text = "schedulers of threads are not supported"
    elif tune.groups:
        text = "Resctrl not supported on this host"
    if text:
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


def check_nodes(definition: Definition) -> None:
    """Refuse a definition that wants memory on nodes which the host does not have.

    Raises:
        ConfigUnsupported: it does.
    """
    tune = definition.model.numatune
    if tune is None:
        return
    for place in (tune.memory, *tune.memnodes):
        for node in parse_bitmap(place.nodeset) if place is not None and place.nodeset else ():
            if not os.path.isdir(NODE.format(node)):
                raise ConfigUnsupported(f"NUMA node {node} is unavailable", domain=c.VIR_FROM_QEMU)


async def find_iothreads(guest: Guest) -> dict[int, Mapping[str, Any]]:
    """Ask QEMU for a guest's IO threads; by number, what it says. Raises VirError."""
    answer = await guest.execute("query-iothreads")
    found: dict[int, Mapping[str, Any]] = {}
    for one in answer[:MAX_IOTHREADS] if isinstance(answer, list) else ():
        name = one.get("id") if isinstance(one, Mapping) else None
        number = name.removeprefix("iothread") if isinstance(name, str) else ""
        if number.isascii() and number.isdecimal() and len(number) < 10 and type(one.get("thread-id")) is int:
            found[int(number)] = one
    return found


def pin_thread(guest: Guest, thread: int, cpus: int | None) -> None:
    """Say where a thread of a guest may run.

    Args:
        guest: whose thread it is.
        thread: its number.
        cpus: a bitmap of host CPUs; None for all.

    Raises:
        OperationInvalid: it is no thread of the guest.
        VirSystemError: the kernel refuses.
    """
    process = guest.process
    if process is None or task_figures(process.pid, thread) is None:
        raise OperationInvalid("cpu affinity is not supported", domain=c.VIR_FROM_QEMU)
    wanted = [cpu for cpu in range(host_cpus()) if cpus is None or cpus >> cpu & 1]
    try:
        os.sched_setaffinity(thread, wanted)
    except OSError as error:
        text = f"cannot set CPU affinity on process {thread}: {error.strerror}"
        raise VirSystemError(text, domain=c.VIR_FROM_NONE, int1=error.errno or 0) from error


def pin_emulator(guest: Guest, iothreads: Mapping[int, Mapping[str, Any]], cpus: int | None) -> None:
    """Say where those threads of a guest may run that are neither virtual CPUs nor IO threads."""
    if guest.process is None:
        return
    others = {*guest.threads.values(), *(one["thread-id"] for one in iothreads.values())}
    for thread in thread_ids(guest.process.pid):
        if thread not in others and task_figures(guest.process.pid, thread) is not None:
            pin_thread(guest, thread, cpus)


def iothread_cpus(definition: Definition, number: int) -> int | None:
    """Return where an IO thread may run; None for anywhere."""
    pin = iothread_pin(definition.model, number)
    return definition.cpu_mask if pin is None else pin


async def settle_threads(guest: Guest) -> None:
    """Have the threads of a guest that starts in their groups, and run where its definition says.

    Raises:
        VirError: QEMU does not answer, or the kernel refuses.
    """
    live, group = guest.record.live, guest.group
    tune = live.model.cputune
    grouped = group is not None and group.threaded
    pinned = tune is not None and bool(tune.vcpupin or tune.emulatorpin or tune.iothreadpin)
    if not grouped and not pinned and live.cpu_mask is None:
        return
    iothreads = await find_iothreads(guest) if threads_of(live.model) else {}
    placed: set[int] = set()
    for vcpu, thread in sorted(guest.threads.items()):
        if thread not in placed:  # a QEMU that emulates may have one for all CPUs
            await place_thread(guest, f"vcpu{vcpu}", thread)
        placed.add(thread)
    for number, one in iothreads.items():
        await place_thread(guest, f"iothread{number}", one["thread-id"])
    guest.check_alive()
    if not pinned and live.cpu_mask is None:
        return
    emulator = live.emulator_pin if live.emulator_pin is not None else live.cpu_mask
    pin_emulator(guest, iothreads, emulator)
    for vcpu, thread in guest.threads.items():
        pin = live.vcpu_pin(vcpu)
        pin_thread(guest, thread, pin if pin is not None else live.cpu_mask)
    for number, one in iothreads.items():
        pin_thread(guest, one["thread-id"], iothread_cpus(live, number))


def tell_tunable(guest: Guest, name: str, cpus: int) -> None:
    """Tell that a thread may run elsewhere: ``vcpupin0``, ``emulatorpin``, ``iothreadpin1``."""
    tell_tuned(guest, [string(f"cputune.{name}", format_mask(cpus))])
