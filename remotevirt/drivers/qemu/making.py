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

from twisted.internet.defer import TimeoutError
from twisted.logger import Logger

from remotevirt.drivers.disk_threads import in_thread
from remotevirt.drivers.qemu.command import Order, Part, to_commands
from remotevirt.drivers.qemu.guest import Guest, Undo
from remotevirt.drivers.qemu.handing import give_files, release_files
from remotevirt.drivers.qemu.launching import forget_secrets, opened, write_secrets
from remotevirt.drivers.qemu.monitor import qmp_class
from remotevirt.drivers.qemu.qmp import objects_of
from remotevirt.drivers.qemu.taps import tap_names
from remotevirt.errors import VirError
from remotevirt.stubs.errors import InternalError

__all__ = [
    "Making",
    "forget_making",
    "made",
    "note_making",
    "remove_parts",
    "take_leftover",
    "undo_all",
    "undoing",
]

log = Logger()


class Making:
    """What one call has made so far.

    Attributes:
        taps: the names of the tap devices, by the alias of the card that each is for.
    """

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self._undo: list[Undo] = []
        self._secrets: list[str] = []
        self.taps: dict[str, str] = {}

    async def add(self, parts: Sequence[Part]) -> None:
        """Make parts, in order.

        What undoes that is kept before, so that a daemon after this one can.

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
            orders = [order for part in parts for order in to_commands(part, sets)]
            note_making(guest, [order.undo for order in orders if order.undo is not None])
            for order in orders:
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
        undo, self._undo = self._undo, []
        await undo_all(guest, undo)
        if guest.record.guest is guest:
            forget_making(guest)
            await release_files(guest)


def note_making(guest: Guest, undo: Sequence[Undo]) -> None:
    """Keep what undoes a change of devices that is about to be made; raises VirError."""
    if undo:
        guest.world.commit(made, guest, [*guest.details.making, *undo])


def forget_making(guest: Guest) -> None:
    """Note that a change of devices is over, and came to nothing or is as it should be."""
    if guest.details.making and guest.record.guest is guest:
        guest.world.apply(lambda: made(guest))


def made(guest: Guest, making: list[Undo] | None = None) -> None:
    """Note that a change of devices is over, but for what is to be taken away yet; inside of a commit."""
    guest.details.making = making or []
    guest.remember()


async def undo_all(guest: Guest, undo: Sequence[Undo], *, maybe: bool = False) -> None:
    """Undo what was made, the last first, as far as QEMU lets.

    What is behind a device that the guest keeps waits until it lets go (:func:`take_leftover`).

    Args:
        guest: whose devices it was about.
        undo: in order of making.
        maybe: it is not known how far that came.
    """
    rest = list(undo)
    while rest:
        command, arguments = rest.pop()
        if guest.monitor is None:
            return
        if command == "device_del":
            if not await _delete(guest, arguments["id"]):
                _note_leftover(guest, arguments["id"], rest)
                return
            continue
        await _try(guest, command, arguments, maybe=maybe)


def _note_leftover(guest: Guest, device: str, behind: list[Undo]) -> None:
    if guest.record.guest is not guest:
        return

    def change() -> None:
        guest.details.leftover = {**guest.details.leftover, device: behind}
        guest.remember()

    guest.world.apply(change)


async def take_leftover(guest: Guest, device: str) -> None:
    """Take away what is behind a device that no definition has, and that the guest has let go of at last."""
    behind = guest.details.leftover.get(device)
    if behind is None:
        return

    def change() -> None:
        guest.details.leftover = {one: rest for one, rest in guest.details.leftover.items() if one != device}
        guest.remember()

    guest.world.apply(change)
    await undo_all(guest, behind, maybe=True)
    if guest.record.guest is guest:
        await release_files(guest)


async def _delete(guest: Guest, device: str) -> bool:
    """Take a device out that the guest has just got; it may not have looked at it yet, and keep it.

    Returns:
        Whether it has gone.
    """
    waiting = guest.wait_for("DEVICE_DELETED", device)
    waiting.addTimeout(UNDO_SECONDS, guest.world.reactor)
    try:
        try:
            await guest.execute("device_del", {"id": device})
        except InternalError as error:
            if qmp_class(error) == "DeviceNotFound":
                return True
            raise
        await waiting
        return True
    except (VirError, TimeoutError) as error:
        log.error("device {device} stays in QEMU: {error}", device=device, error=error)
        return False
    finally:
        waiting.addErrback(lambda _: None)  # nobody waits any more
        waiting.cancel()


UNDO_SECONDS = 1.0
"""How long a guest may take to let go of a device that could not be plugged in as a whole."""


async def _try(guest: Guest, command: str, arguments: dict[str, Any], *, maybe: bool = False) -> None:
    """Run a command that undoes something; what fails is logged, unless it may have been undone already."""
    try:
        await guest.execute(command, arguments)
    except VirError as error:
        if command != "closefd" and not maybe:
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
    for one in objects_of(answer):
        number, descriptors = one.get("fdset-id"), one.get("fds")
        if isinstance(number, int) and isinstance(descriptors, list):
            opaque = [str(each.get("opaque")) for each in descriptors if isinstance(each, dict)]
            found.append((number, opaque))
    return found


def undoing(parts: Sequence[Part]) -> list[Undo]:
    """Return what takes away that is behind a device, in order of making."""
    return [
        order.undo
        for part in parts
        if part.kind not in {"device", "option"}
        for order in to_commands(part, dict.fromkeys([one.name for one in part.descriptors], 0))
        if order.undo is not None and order.descriptor is None
    ]


async def remove_parts(guest: Guest, parts: Sequence[Part], *, maybe: bool = False) -> None:
    """Take away what is left of a device that the guest has no more; what QEMU refuses is logged.

    Args:
        guest: whose device it was.
        parts: of the device.
        maybe: some of it may have been taken away before.
    """
    for command in reversed(undoing(parts)):
        await _try(guest, *command, maybe=maybe)
    files = {one.name for part in parts for one in part.descriptors if one.kind == "file"}
    if files:
        for number, names in await _sets(guest):
            if set(names) & files:
                await _try(guest, "remove-fd", {"fdset-id": number}, maybe=maybe)
