"""Virtual CPUs come to a running guest, and go.

::

    plug      device_add ──► its thread is found and pinned ──► the live definition lists it
    unplug    device_del ──► DEVICE_DELETED within 5 seconds ──► the live definition does not list it
                        └──► later: the call has failed, and the definition follows the event
"""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import CancelledError

from remotevirt.drivers.qemu.command import parts_of_vcpu, to_commands, vcpu_slots
from remotevirt.drivers.qemu.configuring import find_threads
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.limits import drop_thread, place_thread
from remotevirt.drivers.qemu.threads import pin_thread
from remotevirt.drivers.qemu.unplugging import DELETED, REFUSED, first_of, gone_by_itself
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed, OperationTimeout, OperationUnsupported
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.cpu_tuning import SingleVcpu, VcpuList

__all__ = [
    "enabled_vcpus",
    "forget_vcpu",
    "list_vcpus",
    "part_gone",
    "plug_vcpu",
    "removable_vcpus",
    "unplug_vcpu",
    "vcpus_meanwhile",
]


def enabled_vcpus(model: DomainModel) -> list[int]:
    """Return the numbers of the virtual CPUs that are on."""
    if model.vcpu_list is None:
        return list(range(model.vcpus))
    return [one.id for one in model.vcpu_list.vcpus if one.enabled]


def removable_vcpus(model: DomainModel) -> set[int]:
    """Return the numbers of the virtual CPUs that can be taken out of a running guest, or put in."""
    listed = model.vcpu_list
    return {one.id for one in listed.vcpus if one.hotpluggable} if listed is not None else set()


def list_vcpus(model: DomainModel) -> VcpuList:
    """Return the list of a definition's virtual CPUs; one that only counts them gets a list."""
    if model.vcpu_list is None:
        model.vcpu_list = VcpuList()
        for number in range(model.maxvcpus):
            one = SingleVcpu()
            one.id, one.enabled = number, number < model.vcpus
            one.hotpluggable = not one.enabled
            model.vcpu_list.vcpus.append(one)
    return model.vcpu_list


def _set_enabled(guest: Guest, number: int, enabled: bool) -> None:
    record, world = guest.record, guest.world
    world.touch(record)
    model = record.live.changing()
    for one in list_vcpus(model).vcpus:
        if one.id == number:
            one.enabled, one.hotpluggable = enabled, True
            one.order = None
    order = 0
    for one in list_vcpus(model).vcpus:
        if one.enabled:
            order += 1
            one.order = order
    model.vcpus = order
    record.refresh()


async def plug_vcpu(guest: Guest, number: int) -> None:
    """Give a guest a virtual CPU; the caller has its turn.

    Raises:
        OperationUnsupported: the machine has no place for it.
        VirError: QEMU refuses.
    """
    slots = vcpu_slots(await guest.execute("query-hotpluggable-cpus"))
    if number >= len(slots) or "qom-path" in slots[number]:
        text = "cannot hotplug vcpus: the machine has no place for this one"
        raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
    for part in parts_of_vcpu(number, slots[number]):
        for order in to_commands(part):
            await guest.execute(order.execute, order.arguments)
    guest.threads = await find_threads(guest)
    guest.check_alive()
    live = guest.record.live
    pin = live.vcpu_pin(number)
    cpus = live.cpu_mask if pin is None else pin
    if number in guest.threads:
        await place_thread(guest, f"vcpu{number}", guest.threads[number])
        guest.check_alive()
    confined = live.emulator_pin is not None  # whose thread has made this one
    if (confined or cpus is not None) and number in guest.threads:
        pin_thread(guest, guest.threads[number], cpus)
    guest.world.commit(_set_enabled, guest, number, True)


async def unplug_vcpu(guest: Guest, number: int) -> None:
    """Take a virtual CPU from a guest; the caller has its turn.

    Raises:
        OperationUnsupported: the guest has started with it.
        OperationFailed: the guest does not let go of it.
        OperationTimeout: it has not done so yet.
    """
    slots = vcpu_slots(await guest.execute("query-hotpluggable-cpus"))
    alias = f"vcpu{number}"
    path = str(slots[number].get("qom-path", "")) if number < len(slots) else ""
    if not path.startswith("/machine/peripheral/") or path.rsplit("/", 1)[-1] != alias:
        text = f"vcpu '{number}' can't be unplugged"
        raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
    deleted, refused = guest.wait_for(DELETED, alias), guest.wait_for(REFUSED, alias)
    for one in (deleted, refused):
        one.addErrback(lambda failure: failure.trap(CancelledError, VirError) and None)
    try:
        await guest.execute("device_del", {"id": alias})
        what = await first_of(guest, deleted, refused)
    finally:
        deleted.cancel()
        refused.cancel()
    guest.check_alive()
    if what is None:
        text = "vcpu unplug request timed out. Unplug result must be manually inspected in the domain"
        raise OperationTimeout(text, domain=c.VIR_FROM_QEMU)
    if what == REFUSED:
        raise OperationFailed("vcpu unplug request was rejected by the guest", domain=c.VIR_FROM_QEMU)
    forget_vcpu(guest, alias)


async def vcpus_meanwhile(guest: Guest) -> None:
    """Find out which virtual CPUs have come or gone while the daemon was away. Raises VirError."""
    model = guest.record.live.model
    if model.maxvcpus == 1:
        return
    try:
        slots = vcpu_slots(await guest.execute("query-hotpluggable-cpus"))
    except InternalError:
        return  # a machine whose CPUs stay
    if len(slots) != model.maxvcpus:
        return
    there = {number for number, slot in enumerate(slots) if "qom-path" in slot}
    for number in sorted(there ^ set(enabled_vcpus(model))):
        guest.world.apply(partial(_set_enabled, guest, number, number in there))


async def part_gone(guest: Guest, alias: str) -> None:
    """Take in that a virtual CPU or another device has gone for which no call waits."""
    forget_vcpu(guest, alias)
    await gone_by_itself(guest, alias)


def forget_vcpu(guest: Guest, alias: str) -> None:
    """Take in that a virtual CPU has gone; nothing for what is none, or if that was done."""
    text = alias.removeprefix("vcpu")
    if text == alias or not text.isascii() or not text.isdecimal() or len(text) > 6:
        return
    number, live = int(text), guest.record.live
    if number not in enabled_vcpus(live.model):
        return
    guest.threads.pop(number, None)
    drop_thread(guest, alias)
    guest.world.apply(lambda: _set_enabled(guest, number, False))
