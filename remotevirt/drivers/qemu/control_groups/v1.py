"""Control groups of version 1: a tree for each controller, or for some that are mounted together.

A guest's group is made in each tree; those of its threads only where threads count: CPU time, its accounting,
and CPU sets. A new group of CPU sets has no CPU and no memory, hence gets those of the group above it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

from remotevirt.drivers.qemu.control_groups.files import unwritable
from remotevirt.drivers.qemu.control_groups.group import (
    NOT_ALLOWED,
    UNLIMITED,
    ControlGroup,
    CpuTimes,
    check_range,
    device_number,
)
from remotevirt.drivers.qemu.control_groups.layout import CONTROLLERS, EMULATOR
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, VirSystemError

__all__ = ["V1Group"]

THREADED: Final = ("cpu", "cpuacct", "cpuset")

SHARES: Final = (2, 262144)

TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of a tick, in which times of user mode and kernel are counted."""

NO_LIMIT: Final = 2**63 - 2**20
"""Bytes that no limit has: the kernel says the largest number of whole pages, whatever a page is."""

INHERITED: Final = ("cpuset.cpus", "cpuset.mems")

MEMORY_FILES: Final = {
    "hard_limit": "memory.limit_in_bytes",
    "soft_limit": "memory.soft_limit_in_bytes",
    "swap_hard_limit": "memory.memsw.limit_in_bytes",
}

DEVICE_FILES: Final = {
    "read_iops": "blkio.throttle.read_iops_device",
    "write_iops": "blkio.throttle.write_iops_device",
    "read_bytes": "blkio.throttle.read_bps_device",
    "write_bytes": "blkio.throttle.write_bps_device",
}

WEIGHT_FILES: Final = ("blkio.bfq.weight", "blkio.weight")


class V1Group(ControlGroup):
    """The groups of one guest, in the trees of version 1."""

    def _tops(self) -> dict[str, set[str]]:
        """Return the trees, and which controllers each has."""
        tops: dict[str, set[str]] = {}
        for controller in CONTROLLERS:
            top = self.layout.controllers.get(controller)
            if top is not None:
                tops.setdefault(top, set()).add(controller)
        return tops

    def folder(self, controller: str) -> str:
        return self.layout.controllers[controller] + self.path

    def _folders(self, controllers: tuple[str, ...] = CONTROLLERS) -> list[str]:
        """Return the guest's groups, each once, of the controllers that it has."""
        return list(dict.fromkeys(self.folder(one) for one in controllers if one in self.controllers))

    def make(self, makeable: str) -> None:
        made: list[str] = []
        try:
            for top, controllers in self._tops().items():
                folder = top + self.path
                try:
                    folders = [*self.above(top, makeable), folder]
                    self.make_folder(folder, new=True)
                    made.append(folder)
                    if "cpuset" in controllers:
                        self._inherit(folders)
                except VirSystemError as error:
                    if error.int1 not in NOT_ALLOWED:
                        raise
                    if folder in made:
                        self.remove_tree(folder)
                    continue
                self.controllers |= controllers
        except BaseException:
            for folder in made:
                self.remove_tree(folder)
            self.controllers = frozenset()
            raise

    def _inherit(self, folders: Sequence[str]) -> None:
        """Give groups, each below the one before, its CPUs and memory where they have none of their own.

        Memory follows who moves to other nodes.
        """
        for above, folder in pairwise(folders):
            for file in INHERITED:
                path = f"{folder}/{file}"
                try:
                    if not self.files.read(path):
                        self.files.write(path, self.files.read(f"{above}/{file}"))
                except OSError as error:
                    raise unwritable(path, error) from error
        self.write_into(f"{folders[-1]}/cpuset.memory_migrate", 1)

    def find(self) -> None:
        self.controllers = frozenset(
            controller
            for controller, top in self.layout.controllers.items()
            if self.files.exists(top + self.path)
        )

    def add(self, name: str) -> None:
        for folder in self._folders(THREADED):
            self.make_folder(f"{folder}/{name}")
        if "cpuset" in self.controllers:
            folder = self.folder("cpuset")
            self._inherit([folder, f"{folder}/{name}"])

    def drop(self, name: str) -> None:
        for folder in self._folders(THREADED):
            self.remove_child(f"{folder}/{name}")

    def enter(self, pid: int) -> None:
        threaded = self._folders(THREADED)
        for folder in self._folders():
            place = f"{folder}/{EMULATOR}" if folder in threaded else folder
            self.write_into(f"{place}/cgroup.procs", pid)

    def move(self, name: str, thread: int) -> None:
        for folder in self._folders(THREADED):
            self.write_into(f"{folder}/{name}/tasks", thread)

    def remove(self) -> bool:
        left = [folder for top in self._tops() if not self.remove_tree(folder := top + self.path)]
        return not left

    def shares(self) -> int:
        return self.number("cpu", "cpu.shares")

    def set_shares(self, shares: int) -> None:
        check_range("shares", shares, SHARES)
        self.write("cpu", "cpu.shares", shares)

    def bandwidth(self, name: str) -> tuple[int, int]:
        return self.number("cpu", "cpu.cfs_period_us", name), self.number("cpu", "cpu.cfs_quota_us", name)

    def set_period(self, name: str, period: int) -> None:
        self.write("cpu", "cpu.cfs_period_us", period, name)

    def set_quota(self, name: str, quota: int) -> None:
        self.write("cpu", "cpu.cfs_quota_us", max(quota, -1), name)

    def memory_limit(self, name: str) -> int:
        if not self.files.exists(self.place("memory", MEMORY_FILES[name])):
            return UNLIMITED  # a kernel that does not count swap
        found = self.number("memory", MEMORY_FILES[name])
        return UNLIMITED if found >= NO_LIMIT else found >> 10

    def set_memory_limit(self, name: str, limit: int) -> None:
        self.write("memory", MEMORY_FILES[name], -1 if limit >= UNLIMITED else limit << 10)

    def weight(self) -> int:
        text = self.read("blkio", self.weight_file(*WEIGHT_FILES))
        with suppress(ValueError):
            return int(text.removeprefix("default "))
        raise InternalError(f"Unable to parse '{text}' as an integer", domain=c.VIR_FROM_CGROUP)

    def set_weight(self, weight: int) -> None:
        self.write("blkio", self.weight_file(*WEIGHT_FILES), weight)

    def set_device_limit(self, name: str, path: str, limit: int) -> None:
        file = self.weight_file("blkio.weight_device") if name == "weight" else DEVICE_FILES[name]
        self.write("blkio", file, f"{device_number(self.files, path)} {limit}")

    def times(self) -> CpuTimes:
        counted = dict(line.split() for line in self.read("cpuacct", "cpuacct.stat").splitlines())
        try:
            user, system = int(counted["user"]), int(counted["system"])
        except (KeyError, ValueError):
            raise InternalError("cannot parse cpu user stat", domain=c.VIR_FROM_CGROUP) from None
        return CpuTimes(self.number("cpuacct", "cpuacct.usage"), user * TICK, system * TICK)

    def times_by_cpu(self, name: str) -> list[int]:
        return [int(text) for text in self.read("cpuacct", "cpuacct.usage_percpu", name).split()]

    def set_cpuset(self, name: str, what: str, members: str) -> None:
        self.write("cpuset", f"cpuset.{what}", members, name)
