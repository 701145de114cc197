"""The IO threads of a definition, and how it forgets one.

A document may name its threads or only count them; those that were only counted are numbered from 1.
"""

from __future__ import annotations

from remotevirt.drivers.domains.definition import Definition
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg
from remotevirt.xml.bitmap import parse_mask
from remotevirt.xml.domain.cpu_tuning import IoThread, IoThreadIds
from remotevirt.xml.domain.document import DomainModel

__all__ = ["check_unused", "iothread_pin", "keep_threads", "map_bytes", "threads_of"]


def threads_of(model: DomainModel) -> list[IoThread]:
    """Return a document's threads, also those that it only counts."""
    if model.iothread_ids is not None:
        return list(model.iothread_ids.threads)
    return [IoThread(number, counted=True) for number in range(1, (model.iothreads or 0) + 1)]


def keep_threads(model: DomainModel, threads: list[IoThread]) -> None:
    """Put threads into a document, which forgets the pinning and scheduling of all others."""
    model.iothreads = len(threads) or None
    named = any(not thread.counted or thread.has_pool for thread in threads)
    model.iothread_ids = IoThreadIds(threads) if named else None
    tune = model.cputune
    if tune is None:
        return
    pins = {pin.iothread: pin for pin in tune.iothreadpin}
    tune.iothreadpin = [pins[thread.id] for thread in threads if thread.id in pins]
    known = {str(thread.id) for thread in threads}
    tune.iothreadsched = [one for one in tune.iothreadsched if one.iothreads in known]


def iothread_pin(model: DomainModel, number: int) -> int | None:
    """Return where one thread may run, None if it is not pinned."""
    for pin in model.cputune.iothreadpin if model.cputune else ():
        if pin.iothread == number:
            return parse_mask(pin.cpuset or "")
    return None


def check_unused(definition: Definition, iothread_id: int) -> None:
    """Refuse to remove a thread that a device uses; raises InvalidArg."""
    devices = definition.model.devices
    for disk in devices.disks:
        if disk.driver is not None and disk.driver.iothread == iothread_id:
            user = f"cannot remove IOThread {iothread_id} since it is being used by disk '{disk.dev}'"
            raise InvalidArg(user, domain=c.VIR_FROM_DOMAIN)
    for controller in devices.controllers:
        if controller.driver is not None and controller.driver.iothread == iothread_id:
            user = f"cannot remove IOThread '{iothread_id}' since it is being used by controller"
            raise InvalidArg(user, domain=c.VIR_FROM_DOMAIN)


def map_bytes(bits: int) -> bytes:
    """Lay out a CPU map in as few bytes as hold it."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
