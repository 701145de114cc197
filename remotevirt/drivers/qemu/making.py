"""What is made in a running QEMU for a device that is plugged in, and taken away when it has gone.

::

    Making.add(parts) ──► secrets, files given ──► descriptors and commands, one after the other
           │ fails
           └────────────► the undoing commands, the last first; files given back

A device of the guest itself is undone by asking the guest, so that is for :mod:`.unplugging`; here goes what
is behind it on the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.logger import Logger

from remotevirt.drivers.disk_threads import in_thread
from remotevirt.drivers.qemu.command import Order, Part, to_commands
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.handing import give_files, release_files
from remotevirt.drivers.qemu.launching import forget_secrets, opened, write_secrets
from remotevirt.drivers.qemu.taps import tap_names
from remotevirt.errors import VirError

__all__ = ["Making", "remove_parts"]

log = Logger()


class Making:
    """What one call has made so far.

    Attributes:
        taps: the names of the tap devices, by the alias of the card that each is for.
    """

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self._undo: list[tuple[str, dict[str, Any]]] = []
        self._secrets: list[str] = []
        self.taps: dict[str, str] = {}

    async def add(self, parts: Sequence[Part]) -> None:
        """Make parts, in order.

        Raises:
            VirError: something cannot be had, or QEMU refuses; what was made before stays.
        """
        guest = self.guest
        secrets = [secret for part in parts for secret in part.secrets]
        self._secrets += [secret.path for secret in secrets]
        await write_secrets(guest, secrets)
        await give_files(guest, tuple(file for part in parts for file in part.files))
        descriptors = [one for part in parts for one in part.descriptors]
        async with opened(descriptors, guest.world.settings) as numbers:
            sets = await _free_sets(guest, [one.name for one in descriptors if one.kind == "file"])
            self.taps |= tap_names(descriptors, numbers)
            for part in parts:
                for order in to_commands(part, sets):
                    await self.order(order, numbers)

    async def order(self, order: Order, numbers: Any = None) -> None:
        """Have QEMU run a command, and remember what undoes it. Raises VirError."""
        files = () if order.descriptor is None else (numbers[order.descriptor.name],)
        await self.guest.execute(order.execute, order.arguments, files=files)
        if order.undo is not None:
            self._undo.append(order.undo)

    async def done(self) -> None:
        """Let go of what was needed only to make it."""
        paths, self._secrets = self._secrets, []
        if paths:
            state = str(self.guest.world.settings.state)
            await in_thread(state, lambda stop: forget_secrets(paths))

    async def take_back(self) -> None:
        """Undo everything, as far as QEMU lets."""
        guest = self.guest
        await self.done()
        undo, self._undo = self._undo[::-1], []
        for command, arguments in undo:
            if command == "device_del" and guest.monitor is not None:
                await _delete(guest, arguments["id"])
                continue
            await _try(guest, command, arguments)
        if guest.record.guest is guest:
            await release_files(guest)


async def _delete(guest: Guest, device: str) -> None:
    """Take a device out that the guest has just got; it may not have looked at it yet, and keep it."""
    waiting = guest.wait_for("DEVICE_DELETED", device)
    waiting.addTimeout(UNDO_SECONDS, guest.world.reactor)
    await _try(guest, "device_del", {"id": device})
    try:
        await waiting
    except Exception as error:
        log.error("device {device} stays in QEMU: {error}", device=device, error=error)


UNDO_SECONDS = 1.0
"""How long a guest may take to let go of a device that could not be plugged in as a whole."""


async def _try(guest: Guest, command: str, arguments: dict[str, Any]) -> None:
    """Run a command that undoes something; what fails is logged, a name of a descriptor may be gone."""
    try:
        await guest.execute(command, arguments)
    except VirError as error:
        if command != "closefd":
            log.error("{command} {arguments}: {error}", command=command, arguments=arguments, error=error)


async def _free_sets(guest: Guest, names: Iterable[str]) -> dict[str, int]:
    """Return numbers for descriptor sets that no set has."""
    names = list(names)
    if not names:
        return {}
    taken = {number for number, _ in await _sets(guest)}
    free = (number for number in range(len(taken) + len(names)) if number not in taken)
    return dict(zip(names, free, strict=False))


async def _sets(guest: Guest) -> list[tuple[int, list[str]]]:
    """Return QEMU's descriptor sets: their numbers, and what we called their descriptors."""
    answer = await guest.execute("query-fdsets")
    found: list[tuple[int, list[str]]] = []
    for one in answer if isinstance(answer, list) else ():
        number, descriptors = (one.get("fdset-id"), one.get("fds")) if isinstance(one, dict) else (None, None)
        if isinstance(number, int) and isinstance(descriptors, list):
            opaque = [str(each.get("opaque")) for each in descriptors if isinstance(each, dict)]
            found.append((number, opaque))
    return found


async def remove_parts(guest: Guest, parts: Sequence[Part]) -> None:
    """Take away what is left of a device that the guest has no more; what QEMU refuses is logged."""
    for part in reversed(parts):
        if part.kind in {"device", "option"}:
            continue
        files = [one.name for one in part.descriptors if one.kind == "file"]
        for order in reversed(to_commands(part, dict.fromkeys(files, 0))):
            if order.undo is not None and order.descriptor is None:
                await _try(guest, *order.undo)
        if files:
            for number, names in await _sets(guest):
                if set(names) & set(files):
                    await _try(guest, "remove-fd", {"fdset-id": number})
