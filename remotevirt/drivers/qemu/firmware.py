"""The firmware that this host has for guests, as the packages that bring it describe it.

A descriptor is a small JSON file; QEMU's ``docs/interop/firmware.json`` says what is in it. Where two folders
have one of the same name the later folder's counts, and an empty one hides it. They are used in the order of
their names, which begin with a number for that reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import attrs
from twisted.logger import Logger

__all__ = ["FOLDERS", "Firmware", "firmware_for", "read_firmware"]

FOLDERS: Final = ("/usr/share/qemu/firmware", "/etc/qemu/firmware")
"""Where descriptors are, the later ones before the earlier ones."""

MAX_DESCRIPTORS: Final = 256
"""Descriptors that are read; Debian has six."""

MAX_BYTES: Final = 64 * 1024
"""Bytes that one may have; they have some seven hundred."""

log = Logger()


@attrs.frozen
class Firmware:
    """One that guests can start from.

    Attributes:
        path: of the code.
        template: of the variables, from which each guest gets a copy; None if it keeps none.
        interfaces: ``uefi``, ``bios``, ...
        targets: architectures in QEMU's words, each with patterns of canonical machine names.
        features: what it can do (``secure-boot``, ``requires-smm``, ...).
        device: how it is mapped: ``flash`` or ``memory``.
        mode: of flash: ``split`` into code and variables, or ``combined`` or ``stateless``.
    """

    path: str
    template: str | None = None
    interfaces: frozenset[str] = frozenset()
    targets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    features: frozenset[str] = frozenset()
    device: str = "flash"
    mode: str = "split"

    def is_for(self, arch: str, machine: str) -> bool:
        """Return whether a machine can start from it.

        Args:
            arch: the guest's, in libvirt's words.
            machine: its canonical name.
        """
        wanted = {"i686": "i386", "armv7l": "arm"}.get(arch, arch)
        return any(
            target == wanted and any(fnmatchcase(machine, pattern) for pattern in patterns)
            for target, patterns in self.targets
        )


def read_firmware(folders: Iterable[str] = FOLDERS) -> tuple[Firmware, ...]:
    """Return what the folders describe and is there; what makes no sense is logged and left out.

    It reads files: call it from a thread, or when the daemon starts.
    """
    paths: dict[str, str] = {}
    for folder in folders:
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
        except OSError:
            continue  # no package has brought any
        paths.update({name: os.path.join(folder, name) for name in names})
    found = []
    for name in sorted(paths)[:MAX_DESCRIPTORS]:
        try:
            # a pipe would block whoever opens it
            descriptor = os.open(paths[name], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                data = file.read(MAX_BYTES + 1)
            if not data:
                continue
            firmware = _read(data)
            if os.path.exists(firmware.path):
                found.append(firmware)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warn("{path} describes no firmware: {error!r}", path=paths[name], error=error)
    return tuple(found)


def _read(data: bytes) -> Firmware:
    """Return what a descriptor describes; raises ValueError, KeyError or TypeError."""
    if len(data) > MAX_BYTES:
        raise ValueError("it is too long")
    record = json.loads(data)
    mapping = record["mapping"]
    code, template = mapping, None
    if mapping["device"] == "flash":
        code = mapping["executable"]
        kept = mapping.get("nvram-template")
        template = None if kept is None else _text(kept["filename"])
    targets = tuple((_text(one["architecture"]), _texts(one["machines"])) for one in record["targets"])
    return Firmware(
        _text(code["filename"]),
        template,
        frozenset(_texts(record["interface-types"])),
        targets,
        frozenset(_texts(record["features"])),
        _text(mapping["device"]),
        _text(mapping.get("mode", "split")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("it has something else where a text belongs")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("it has something else where a list belongs")
    return tuple(_text(one) for one in value)


def firmware_for(known: Sequence[Firmware], arch: str, machine: str) -> list[Firmware]:
    """Return the firmware that a machine can start from, the best first.

    Args:
        known: all there is.
        arch: the guest's, in libvirt's words.
        machine: its canonical name.
    """
    return [one for one in known if one.is_for(arch, machine)]
