"""What probing has found out, kept on the disk, so that a daemon that starts anew need not ask again.

One JSON file, replaced as a whole. It is a cache: what cannot be read, or was written by another version, or
on another kernel, counts for nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.logger import Logger

from remotevirt.drivers.qemu.emulator import CpuModel, Emulator, Machine

__all__ = ["Known", "ProbeMemory"]

FORMAT: Final = 1
"""The version of the file; another one is not read."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes that are read; what four emulators can do has about a hundred thousand."""

Known = dict[str, tuple[tuple[int, ...], Emulator]]
"""By the path of a binary: what it and KVM looked like when it was asked, and what it can do."""

log = Logger()


class ProbeMemory:
    """The file.

    Args:
        path: where it is; only the daemon may write there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Known:
        """Return what was kept; nothing if that is of no use."""
        try:
            with self.path.open("rb") as file:
                kept = json.loads(file.read(MAX_BYTES))
            if kept["format"] != FORMAT or kept["kernel"] != os.uname().release:
                return {}
            return {
                path: (tuple(map(int, one["marks"])), _emulator(one["emulator"]))
                for path, one in kept["emulators"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warn("{path} is not used: {error!r}", path=self.path, error=error)
            return {}

    def save(self, known: Known) -> None:
        """Keep what is known; that it cannot be is logged, and costs time at the next start."""
        emulators = {
            path: {"marks": list(marks), "emulator": attrs.asdict(emulator, value_serializer=_plain)}
            for path, (marks, emulator) in known.items()
        }
        text = json.dumps({"format": FORMAT, "kernel": os.uname().release, "emulators": emulators})
        partial = self.path.with_suffix(".part")
        try:
            with suppress(FileNotFoundError):
                partial.unlink()
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w") as file:
                file.write(text)
            partial.rename(self.path)
        except OSError as error:
            log.warn("{path} cannot be written: {error}", path=self.path, error=error)


def _plain(_: Any, __: Any, value: Any) -> Any:
    """Return sets as sorted lists."""
    return sorted(value) if isinstance(value, frozenset) else value


def _emulator(record: Mapping[str, Any]) -> Emulator:
    """Return an emulator from what was kept of it; raises KeyError, TypeError or ValueError."""
    values = dict(record)
    values["version"] = tuple(values["version"])
    values["machines"] = {name: Machine(**one) for name, one in values["machines"].items()}
    for name in ("devices", "objects"):
        values[name] = frozenset(values[name])
    for name in ("cpus", "kvm_cpus"):
        values[name] = {key: _cpu(one) for key, one in values[name].items()}
    return Emulator(**values)


def _cpu(record: Mapping[str, Any]) -> CpuModel:
    blockers = record["blockers"]
    return CpuModel(record["name"], None if blockers is None else tuple(blockers), record["deprecated"])
