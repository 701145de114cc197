"""What a guest's QEMU is told before the guest runs, and asked: what the command line cannot say.

Passwords (which would be seen there), what a reset leads to, the names of pseudo-terminals, which channels
are open, the balloon's size, the threads of the processors.
"""

from __future__ import annotations

from remotevirt.drivers.qemu.characters import (
    STARTED,
    channels_of,
    find_characters,
    place_terminals,
    take_in_states,
)
from remotevirt.drivers.qemu.command import Setting, hotpluggable_vcpus, orders_before_run, orders_for_vcpus
from remotevirt.drivers.qemu.displays import password_orders
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.launching import surroundings_of
from remotevirt.drivers.qemu.live_cpu import take_in_cpu
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.drivers.qemu.threads import settle_threads
from remotevirt.xml.domain.graphics import Vnc

__all__ = ["configure", "find_threads"]


async def configure(guest: Guest, emulator: Emulator) -> None:
    """Make a guest ready to run.

    Raises:
        VirError: QEMU refuses.
    """
    record, world = guest.record, guest.world
    model = record.live.model
    setting = Setting(model, emulator, surroundings_of(guest))
    for order in orders_before_run(setting):
        await guest.execute(order.execute, order.arguments)
    if hotpluggable_vcpus(setting):
        for order in orders_for_vcpus(setting, await guest.execute("query-hotpluggable-cpus")):
            await guest.execute(order.execute, order.arguments)
    for screen in model.devices.graphics:
        for order in password_orders(screen) if isinstance(screen, Vnc) else ():
            await guest.execute(order.execute, order.arguments)
    if record.live.has_balloon and record.live.memory < record.live.max_memory:
        await guest.execute("balloon", {"value": record.live.memory * 1024})
    await _find_port(guest)
    await take_in_cpu(guest, setting)
    characters = await find_characters(guest)
    guest.threads = await find_threads(guest)
    await settle_threads(guest)

    def change() -> None:
        world.touch(record)
        place_terminals(record.live.changing(), characters)
        take_in_states(guest, characters, STARTED)

    if channels_of(model) or any(one.terminal is not None for one in characters.values()):
        world.commit(change)


async def _find_port(guest: Guest) -> None:
    """Find out at which port QEMU serves its display, if the choice was left to it."""
    model = guest.record.live.model
    screen = next((one for one in model.devices.graphics if isinstance(one, Vnc) and one.autoport), None)
    if screen is None or any(listen.type == "socket" for listen in screen.listens):
        return
    answer = await guest.execute("query-vnc")
    told = answer.get("service") if isinstance(answer, dict) else None
    if not isinstance(told, str) or not told.isdecimal() or not 0 < int(told[:6]) < 65536:
        return
    port = int(told)
    if port == screen.port:
        return

    def change() -> None:
        guest.details.ports = [port if known == screen.port else known for known in guest.details.ports]
        guest.remember()
        guest.record.live.changing()
        screen.port = port

    guest.world.commit(change)


async def find_threads(guest: Guest) -> dict[int, int]:
    """Return the threads of a guest's processors: by index, the number of the thread."""
    answer = await guest.execute("query-cpus-fast")
    found: dict[int, int] = {}
    for one in objects_of(answer):
        index, thread = one.get("cpu-index"), one.get("thread-id")
        if isinstance(index, int) and isinstance(thread, int) and 0 <= index < 65536:
            found[index] = thread
    return found
