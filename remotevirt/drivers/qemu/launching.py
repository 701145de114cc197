"""From a prepared definition to a QEMU that answers: folders, files, descriptors, process, monitor."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.threads import deferToThread

from remotevirt.drivers.qemu import watching
from remotevirt.drivers.qemu.access import check_allowed, exactly, give, owner_before
from remotevirt.drivers.qemu.chains import find_images
from remotevirt.drivers.qemu.command import (
    Descriptor,
    GuestFile,
    NeededSecret,
    Surroundings,
    build_command,
)
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.drivers.qemu.guest import Guest, Owner
from remotevirt.drivers.qemu.limits import make_group, name_partition
from remotevirt.drivers.qemu.logs import cut, log_path
from remotevirt.drivers.qemu.monitor import Monitor, connect
from remotevirt.drivers.qemu.process import QemuProcess, exit_error, spawn
from remotevirt.drivers.qemu.settings import GuestUser, Settings
from remotevirt.drivers.qemu.stopping import gone
from remotevirt.drivers.qemu.taps import open_tap, place_taps, tap_names
from remotevirt.drivers.qemu.telling import tell
from remotevirt.drivers.qemu.threads import check_tuning
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, NoSecret, OperationDenied, VirSystemError
from remotevirt.xml.domain.graphics import Vnc

__all__ = [
    "PID_FILE",
    "attend",
    "converse",
    "give_files",
    "launch",
    "opened",
    "surroundings_of",
    "write_secret",
]

PID_FILE: Final = "qemu.pid"
"""Where QEMU writes the number of its process, in the guest's folder."""

OTHER_PORTS: Final = 99
"""Ports that QEMU may try for a display after the one that was free a moment ago."""

LISTEN_BACKLOG: Final = 16
"""Clients of a socket that wait for QEMU, which takes one after the other."""

ELSEWHERE: Final = frozenset({"cputune", "vcpu", "memtune", "blkiotune", "resource"})
"""What of a definition others than the command line carry out: ``threads`` and ``limits``, or they refuse."""


def surroundings_of(guest: Guest) -> Surroundings:
    """Return where a guest runs."""
    settings = guest.world.settings
    ports = {
        number: screen.port
        for number, screen in enumerate(guest.record.live.model.devices.graphics)
        if isinstance(screen, Vnc) and screen.port
    }
    return Surroundings(
        folder=str(guest.folder),
        channel_folder=str(settings.channel / guest.record.uuid.hex()),
        vnc_ports=ports,
        vnc_others=OTHER_PORTS,
        elsewhere=ELSEWHERE,
    )


async def launch(guest: Guest, emulator: Emulator, *, incoming: bool) -> None:
    """Start a guest's QEMU, its processors stopped, and connect to it.

    Args:
        guest: the guest, with a live definition that is ready.
        emulator: its binary.
        incoming: it waits for its memory.

    Raises:
        VirError: something cannot be had, or QEMU refuses.
    """
    world, settings = guest.world, guest.world.settings
    model, surroundings = guest.record.live.model, surroundings_of(guest)
    check_tuning(guest.record.live)
    await find_images(world, model)
    if settings.images and model.commandline is not None:
        # they could name any file
        text = "arguments for QEMU itself are not allowed where the operator says what guests may open"
        raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
    command = build_command(model, emulator, surroundings)
    guest.check_wanted()
    await deferToThread(_make_folders, guest.folder, settings)
    await deferToThread(_make_variables, guest, settings)
    guest.check_wanted()
    for secret in command.secrets:
        write_secret(guest, secret)
    log = log_path(settings, guest.record.name)
    await deferToThread(cut, log)
    guest.check_wanted()
    give_files(guest, command.files)
    await make_group(guest)
    guest.check_wanted()
    with opened(command.descriptors, settings) as numbers:
        argv = [*command.arguments(numbers), "-pidfile", str(guest.folder / PID_FILE)]
        if incoming:
            argv += ["-incoming", "defer"]
        user = settings.user
        process = await spawn(
            argv,
            reactor=world.reactor,
            environment=command.environment,
            log=log,
            descriptors=sorted(numbers.values()),
            uid=None if user is None else user.uid,
            gid=None if user is None else user.gid,
            groups=() if user is None else user.groups,
            directory=guest.folder,
            enter=None if guest.group is None else guest.group.enter,
        )
        taps = tap_names(command.descriptors, numbers)
    attend(guest, process)
    guest.check_wanted()

    def started() -> None:
        guest.remember()
        name_partition(guest)
        if taps:
            place_taps(guest.record.live.changing(), taps)

    world.commit(started)
    try:
        monitor = await converse(guest, settings.start_timeout)
    except VirError as error:
        if not process.exited:
            raise
        raise await deferToThread(exit_error, log, process.log_start) from error
    guest.monitor = monitor
    guest.check_alive()
    for secret in command.secrets:
        with suppress(OSError):
            os.unlink(secret.path)


def attend(guest: Guest, process: QemuProcess) -> None:
    """Take notice when a guest's process ends."""
    guest.process = process
    process.on_exit = lambda status: gone(guest)


async def converse(guest: Guest, timeout: float) -> Monitor:
    """Connect to a guest's monitor.

    Raises:
        VirError: nobody answers.
    """

    def told(name: str, data: Mapping[str, Any], seconds: int, microseconds: int) -> None:
        tell(guest, name, data, seconds, microseconds)
        watching.heard(guest, name, dict(data))

    def lost(reason: VirError) -> None:
        # a QEMU that nobody can talk to is of no use; when it is over, its process tells
        process = guest.process
        if process is not None and guest.record.guest is guest:
            watching.later(guest, lambda: process.kill(guest.world.settings.shutdown_timeout), "kill")

    return await connect(
        guest.world.reactor,
        str(guest.socket),
        timeout=timeout,
        on_event=told,
        on_close=lost,
    )


def _make_folders(folder: Path, settings: Settings) -> None:
    """Make the folder of a guest, which nobody but QEMU's user and the daemon can enter."""
    try:
        for shared in (
            settings.state,
            settings.run,
            settings.channel,
            settings.log,
            settings.nvram,
            settings.save,
        ):
            shared.mkdir(mode=0o711, exist_ok=True)
        channel = settings.channel / folder.name
        for own in (folder, channel):
            with suppress(FileNotFoundError):
                shutil.rmtree(own)
            own.mkdir(mode=0o700)
            _to_user(own, settings.user)
    except OSError as error:
        text = f"cannot create directory '{folder}': {error.strerror}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error


def _to_user(path: Path, user: GuestUser | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid)


def _make_variables(guest: Guest, settings: Settings) -> None:
    """Make the firmware's variables from their template, if the guest has none yet."""
    nvram = guest.record.live.model.os.nvram
    if nvram is None or nvram.template is None or nvram.path is None or os.path.exists(nvram.path):
        return
    path = nvram.path
    try:
        with open(nvram.template, "rb") as source:
            content = source.read()
        partial = f"{path}.part"
        with open(partial, "wb") as target:
            os.fchmod(target.fileno(), 0o600)
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        os.rename(partial, path)
    except OSError as error:
        text = f"cannot make the firmware's variables '{path}': {error.strerror}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error


def write_secret(guest: Guest, secret: NeededSecret) -> None:
    """Put a secret's value where QEMU finds it."""
    value = guest.world.secret_value(secret.uuid or secret.usage)
    if value is None:
        raise NoSecret("Secret not found", domain=c.VIR_FROM_SECRET)
    descriptor = os.open(
        secret.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    user = guest.world.settings.user
    with open(descriptor, "wb") as file:
        file.write(value)
        if user is not None:
            os.fchown(descriptor, user.uid, user.gid)


def give_files(guest: Guest, files: tuple[GuestFile, ...]) -> list[Owner]:
    """Let a guest's QEMU open files, and remember who had them.

    Returns:
        What was not the guest's before.

    Raises:
        VirError: one is not there, or may not be given; those before it may be given, and are noted.
    """
    world, settings = guest.world, guest.world.settings
    new: list[Owner] = []
    given: list[Owner] = []
    for file in files:
        owner = owner_before(file.path, settings, writable=file.writable)
        shared = world.owner_of(file.path)
        if owner is not None and shared is None:
            given.append(owner)
        owner = shared or owner
        if owner is not None and owner not in guest.details.owners and owner not in new:
            new.append(owner)
    if new:
        # kept before anything is changed, so that it is given back even if the daemon dies in between
        guest.details.owners.extend(new)
        world.commit(guest.remember)
    for owner in given:
        give(owner, settings)
    return new


@contextmanager
def opened(descriptors: Iterable[Descriptor], settings: Settings) -> Iterator[Mapping[str, int]]:
    """Open what QEMU is given already open; it is closed here when the block ends.

    Yields:
        The numbers, by name.
    """
    things: list[Any] = []
    numbers: dict[str, int] = {}
    try:
        for one in descriptors:
            thing = _open(one, settings)
            things.append(thing)
            numbers[one.name] = thing if isinstance(thing, int) else thing.fileno()
        yield numbers
    finally:
        for thing in things:
            os.close(thing) if isinstance(thing, int) else thing.close()


def _open(one: Descriptor, settings: Settings) -> Any:
    """Open one of them: a socket, or a number."""
    try:
        if one.kind == "listen":
            assert one.path is not None
            return _listen(one.path, settings)
        if one.kind == "file":
            assert one.path is not None
            return _open_output(one.path, settings, append=one.append)
        return open_tap(one)
    except OSError as error:
        what = f"cannot open '{one.path}'"
        if one.kind == "tap":
            what = (
                f"cannot make a tap device on bridge '{one.bridge}'"
                if one.bridge
                else "cannot make a tap device"
            )
        text = f"{what}: {error.strerror or error}"
        raise VirSystemError(text, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error


def _listen(path: str, settings: Settings) -> socket.socket:
    """Return a socket that listens where QEMU's user may connect; what is there already goes if it is one."""
    if not path.startswith(f"{settings.run}/"):
        check_allowed(path, settings)
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        with exactly(os.path.realpath(path)) as descriptor:
            itself = f"/proc/self/fd/{descriptor}"
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), path)
            os.chmod(itself, 0o600)
            if settings.user is not None:
                os.chown(itself, settings.user.uid, settings.user.gid)
        listener.listen(LISTEN_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _open_output(path: str, settings: Settings, *, append: bool) -> int:
    """Open a regular file that a guest's device prints into; it is the daemon's, and QEMU gets it open."""
    real = check_allowed(path, settings)
    flags = (
        os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_APPEND
    )
    descriptor = os.open(real, flags, 0o600)
    try:
        if os.readlink(f"/proc/self/fd/{descriptor}") != real:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OperationDenied(f"'{path}' is not a regular file", domain=c.VIR_FROM_QEMU)
        if not append:
            os.ftruncate(descriptor, 0)
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise
