"""The whole command: all parts in libvirt's order, rendered, with what the launcher must see to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final

import attrs

from remotevirt.drivers.qemu.command.boot import (
    boot_options,
    firmware_table_options,
    fw_cfg_options,
    kernel_options,
)
from remotevirt.drivers.qemu.command.characters import (
    parts_of_channel,
    parts_of_console,
    parts_of_parallel,
    parts_of_serial,
)
from remotevirt.drivers.qemu.command.chardev import monitor_part
from remotevirt.drivers.qemu.command.clock import clock_options, power_options
from remotevirt.drivers.qemu.command.controllers import controller_parts, parts_of_controller
from remotevirt.drivers.qemu.command.cpu import cpu_options, topology_options
from remotevirt.drivers.qemu.command.disk import parts_of_disk, throttle_of
from remotevirt.drivers.qemu.command.expressed import check_device, check_expressed
from remotevirt.drivers.qemu.command.firmware import bios_options, flash_parts
from remotevirt.drivers.qemu.command.graphics import graphics_options, parts_of_video
from remotevirt.drivers.qemu.command.iothreads import iothread_parts
from remotevirt.drivers.qemu.command.machine import machine_options, name_options
from remotevirt.drivers.qemu.command.memory import (
    default_memory,
    memory_parts,
    numa_parts,
    parts_of_memory,
)
from remotevirt.drivers.qemu.command.network import link_of, parts_of_interface
from remotevirt.drivers.qemu.command.parts import (
    Descriptor,
    GuestFile,
    NeededSecret,
    Order,
    Part,
    option,
    shown,
    to_arguments,
)
from remotevirt.drivers.qemu.command.passthrough import Passthrough, passthrough_of
from remotevirt.drivers.qemu.command.setting import Setting, Surroundings, alias_of, unsupported
from remotevirt.drivers.qemu.command.small import (
    generation_parts,
    nameless_parts,
    parts_of_balloon,
    parts_of_hub,
    parts_of_input,
    parts_of_panic,
    parts_of_random,
    parts_of_watchdog,
    uuid_text,
    watchdog_options,
)
from remotevirt.drivers.qemu.command.sound import audio_parts, default_audio, parts_of_sound
from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.chardev import Channel, Console, Parallel, Serial
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.media import Hub, Input, Sound, Video
from remotevirt.xml.domain.memory_device import MemoryDevice
from remotevirt.xml.domain.small import MemoryBalloon, Panic, RandomSource, Watchdog
from remotevirt.xml.model import Model

__all__ = ["Command", "build_command", "cpu_words", "format_command", "orders_before_run", "parts_of_device"]

SANDBOX: Final = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
"""System calls that QEMU never needs again once it runs: it may start no process and gain no right."""

MONITOR_SOCKET: Final = "monitor.sock"
"""The monitor's socket, in the guest's private folder."""

_SPECIAL: Final = frozenset("\r\t\n !\"#$&'()*;<>?[\\]^`{|}~")
"""Characters that a word must be quoted for where a command is shown."""


@attrs.frozen
class Command:
    """What the launcher starts.

    Attributes:
        program: the emulator's path.
        parts: what stands on the command line, in order.
        environment: all of the process's environment.
        descriptors: what it inherits; the launcher opens them and tells their numbers to :meth:`arguments`.
        files: what it opens itself, each path once.
        secrets: what must lie in files before it starts, and may go once its monitor answers.
        monitor: the path of the monitor's socket.
    """

    program: str
    parts: tuple[Part, ...]
    environment: Mapping[str, str]
    descriptors: tuple[Descriptor, ...]
    files: tuple[GuestFile, ...]
    secrets: tuple[NeededSecret, ...]
    monitor: str

    def arguments(self, numbers: Mapping[str, int]) -> list[str]:
        """Return the program and its arguments.

        Args:
            numbers: of the descriptors in the process, by name.
        """
        return [self.program, *chain.from_iterable(to_arguments(part, numbers) for part in self.parts)]


_BUILDERS: Final[Mapping[type[Model], Callable[[Setting, Any], list[Part]]]] = {
    Disk: parts_of_disk,
    Interface: parts_of_interface,
    Controller: parts_of_controller,
    Serial: parts_of_serial,
    Parallel: parts_of_parallel,
    Console: parts_of_console,
    Channel: parts_of_channel,
    Input: parts_of_input,
    Video: parts_of_video,
    Sound: parts_of_sound,
    Hub: parts_of_hub,
    Watchdog: parts_of_watchdog,
    MemoryBalloon: parts_of_balloon,
    RandomSource: parts_of_random,
    Panic: parts_of_panic,
    MemoryDevice: parts_of_memory,
}


def parts_of_device(setting: Setting, device: Model) -> list[Part]:
    """Return the parts of any device, in the order in which they are made.

    Args:
        setting: the guest that it is plugged into, or that is started with it.
        device: with its alias and address; the images of a disk with their numbers.

    Raises:
        VirError: the guest cannot have it.
    """
    check_device(device)
    return _parts(setting, device)


def _parts(setting: Setting, device: Model) -> list[Part]:
    """The parts of a device that was checked, maybe with all others."""
    builder = _BUILDERS.get(type(device))
    if builder is None:
        raise unsupported(f"devices of type '{device.TAG}' are not supported by this driver")
    return builder(setting, device)


def _devices(setting: Setting) -> Iterable[Part]:
    """All parts of the devices, in libvirt's order."""
    devices = setting.model.devices
    yield from controller_parts(setting)
    families: tuple[Iterable[Model], ...] = (
        devices.memories,
        devices.hubs,
        devices.disks,
        devices.interfaces,
        devices.serials,
        devices.parallels,
        devices.channels,
        devices.consoles,
        devices.inputs,
    )
    for device in chain(*families):
        yield from _parts(setting, device)
    yield from audio_parts(setting)
    yield from graphics_options(setting, audio=default_audio(setting))
    balloon = devices.memballoon
    late: tuple[Iterable[Model], ...] = (
        devices.videos,
        devices.sounds,
        devices.watchdogs,
        () if balloon is None else (balloon,),
        devices.rngs,
    )
    for device in chain(*late[:3]):
        yield from _parts(setting, device)
    yield from watchdog_options(setting)
    for device in chain(*late[3:]):
        yield from _parts(setting, device)
    yield from nameless_parts(setting)


def _all_parts(setting: Setting, monitor: str) -> Iterable[Part]:
    yield from name_options(setting)
    yield from flash_parts(setting)
    yield from machine_options(setting, memory=default_memory(setting))
    yield from cpu_options(setting)
    yield from bios_options(setting)
    yield from memory_parts(setting)
    yield from topology_options(setting)
    yield from iothread_parts(setting)
    yield from numa_parts(setting)
    yield option("-uuid", uuid_text(setting.model.uuid))
    yield from generation_parts(setting)
    yield from firmware_table_options(setting)
    yield from fw_cfg_options(setting)
    if not setting.model.devices.graphics:
        yield option("-display", "none")
    yield option("-no-user-config")
    yield option("-nodefaults")
    yield monitor_part(monitor)
    yield option("-mon", "chardev=charmonitor,id=monitor,mode=control")
    yield from clock_options(setting)
    yield from power_options(setting)
    yield from boot_options(setting)
    yield from kernel_options(setting)
    yield from _devices(setting)


def cpu_words(setting: Setting) -> tuple[str, ...]:
    """Return the words of a guest's command line that decide which CPU QEMU makes. Raises VirError."""
    parts = (*machine_options(setting, memory=None), *cpu_options(setting), *topology_options(setting))
    given = passthrough_of(setting.model.commandline).arguments
    return (setting.emulator.path, *(word for part in parts for word in to_arguments(part)), *given)


def _last_parts(setting: Setting) -> Iterable[Part]:
    if setting.surroundings.sandbox:
        yield option("-sandbox", SANDBOX)
    for device in setting.model.devices.panics:
        yield from _parts(setting, device)
    yield option("-msg", "timestamp=on")


def build_command(
    model: DomainModel,
    emulator: Emulator,
    surroundings: Surroundings,
    *,
    passthrough: Passthrough | None = None,
) -> Command:
    """Return the command that starts a guest, waiting before its first instruction.

    Args:
        model: its configuration, completed: devices have aliases and addresses, images their numbers
            (:func:`~remotevirt.drivers.qemu.command.storage.number_images`) and their chains to the end.
        emulator: what runs it.
        surroundings: where it runs.
        passthrough: what is added as it is; None for what the configuration says.

    Raises:
        VirError: the configuration holds something that QEMU cannot do, or that this driver does not express.
    """
    check_expressed(model, surroundings.elsewhere)
    setting = Setting(model, emulator, surroundings)
    if setting.arch != emulator.arch and not (setting.arch == "i686" and emulator.arch == "x86_64"):
        raise unsupported(f"Emulator '{emulator.path}' does not support arch '{setting.arch}'")
    if any(label.type != "none" for label in model.seclabels):
        raise unsupported("security labels are not supported by this driver")
    monitor = surroundings.monitor or f"{surroundings.folder}/{MONITOR_SOCKET}"
    extra = passthrough or passthrough_of(model.commandline)
    given = [option(word) for word in extra.arguments]
    parts = (*_all_parts(setting, monitor), *given, *_last_parts(setting))
    return Command(
        emulator.path,
        parts,
        _environment(surroundings, extra),
        tuple(one for part in parts for one in part.descriptors),
        _files(parts),
        tuple(secret for part in parts for secret in part.secrets),
        monitor,
    )


def _environment(surroundings: Surroundings, extra: Passthrough) -> dict[str, str]:
    folder = surroundings.folder
    return {
        "LC_ALL": "C",
        "PATH": surroundings.path,
        "HOME": folder,
        "XDG_DATA_HOME": f"{folder}/.local/share",
        "XDG_CACHE_HOME": f"{folder}/.cache",
        "XDG_CONFIG_HOME": f"{folder}/.config",
        **dict(extra.environment),
    }


def _files(parts: Iterable[Part]) -> tuple[GuestFile, ...]:
    """The files of all parts, each path once: writable if any part writes, shared if all share."""
    found: dict[str, GuestFile] = {}
    for part in parts:
        for file in part.files:
            known = found.get(file.path, file)
            found[file.path] = GuestFile(
                file.path,
                writable=known.writable or file.writable,
                shared=known.shared and file.shared,
                block=file.block,
            )
    return tuple(found.values())


def order_for_ends(model: DomainModel) -> Order:
    """Return the command that says what a reset, a shutdown or a panic leads to."""
    reboot = "shutdown" if model.on_reboot == "destroy" else "reset"
    return Order("set-action", {"reboot": reboot, "shutdown": "pause", "panic": "pause"})


def orders_before_run(setting: Setting) -> list[Order]:
    """Return the commands that a guest gets after its start, before it may run.

    They set what has no place on the command line: limits of disks, cables that are pulled, what a reset
    or a shutdown leads to, how often the balloon tells its figures. Passwords are for the caller to set.
    """
    model = setting.model
    orders = [order for disk in model.devices.disks if (order := throttle_of(disk)) is not None]
    orders += [order for one in model.devices.interfaces if (order := link_of(one)) is not None]
    orders.append(order_for_ends(model))
    balloon = model.devices.memballoon
    if balloon is not None and balloon.period is not None and balloon.model != "none":
        alias = alias_of(balloon.info, "memballoon")
        arguments = {
            "path": f"/machine/peripheral/{alias}",
            "property": "guest-stats-polling-interval",
            "value": balloon.period,
        }
        orders.append(Order("qom-set", arguments))
    return orders


def format_command(command: Command) -> str:
    """Show a command as libvirt does: environment, program and arguments, as words for a shell.

    What the launcher would open is shown by its path, as nothing has been opened.
    """
    environment = [f"{name}={_quoted(value)}" for name, value in command.environment.items()]
    words = chain.from_iterable(to_arguments(shown(part)) for part in command.parts)
    return " ".join([*environment, _quoted(command.program), *(_quoted(word) for word in words)]) + "\n"


def _quoted(word: str) -> str:
    """A word as a shell takes it: in single quotes if it must be."""
    if word and _SPECIAL.isdisjoint(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"
