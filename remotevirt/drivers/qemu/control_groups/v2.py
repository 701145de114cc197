"""Control groups of version 2: one tree, in which each group says which controllers those below it have.

The kernel lets a group either have processes or give controllers to groups below it, not both (the top of the
tree is free). Threads of a process may be in groups of their own, which then have controllers of CPU time and
CPU sets only. So on the way to a guest::

    .../            +cpu +cpuset +memory +io       no process: a daemon that is in here steps aside
       machine/     +cpu +cpuset +memory +io
          guest/    +cpu +cpuset                   the process, by way of
             emulator/, vcpu0/, ...  threaded      its threads

Numbers are the kernel's, as libvirt has them here: shares are ``cpu.weight``, from 1 to 10000, and the limit
with swap is ``memory.swap.max``, for swap alone.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

from remotevirt.drivers.qemu.control_groups.group import (
    NOT_ALLOWED,
    UNLIMITED,
    ControlGroup,
    CpuTimes,
    check_range,
    device_number,
)
from remotevirt.drivers.qemu.control_groups.layout import EMULATOR
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationUnsupported, VirSystemError

__all__ = ["DAEMON", "NO_QUOTA", "V2Group"]

NAMES: Final = {"cpu": "cpu", "cpuset": "cpuset", "memory": "memory", "io": "blkio"}
"""Controllers: what version 1 calls them."""

SHARES: Final = (1, 10000)

NO_QUOTA: Final = 17592186044415
"""What libvirt says of no quota here; in version 1 it is -1."""

DAEMON: Final = "daemon"
"""The group into which a daemon steps that was in the way."""

MEMORY_FILES: Final = {
    "hard_limit": "memory.max",
    "soft_limit": "memory.high",
    "swap_hard_limit": "memory.swap.max",
}

DEVICE_KEYS: Final = {
    "read_iops": "riops",
    "write_iops": "wiops",
    "read_bytes": "rbps",
    "write_bytes": "wbps",
}


class V2Group(ControlGroup):
    """The groups of one guest, in the tree of version 2."""

    own: str | None = None
    """The group that the daemon is in."""

    from_group: str = ""
    """The group that we may change; those above it are somebody else's."""

    @property
    def top(self) -> str:
        """The top of the tree."""
        assert self.layout.unified is not None
        return self.layout.unified

    def folder(self, controller: str = "") -> str:
        return self.top + self.path

    def make(self, makeable: str) -> None:
        try:
            for path in self.above(self.top, makeable):
                if f"{path}/".startswith(f"{self.top}{self.from_group}/"):
                    self._give(path)
            self.make_folder(self.folder(), new=True)
        except VirSystemError as error:
            if error.int1 not in NOT_ALLOWED:
                raise
            return
        try:
            self.find()
            for controller in ("cpu", "cpuset"):
                if controller in self.controllers:
                    self.write(controller, "cgroup.subtree_control", f"+{controller}")
        except BaseException:
            self.remove_tree(self.folder())
            self.controllers = frozenset()
            raise

    def _give(self, path: str) -> None:
        """Give the groups below a group the controllers that it has, as far as we may."""
        try:
            has = self.files.read(f"{path}/cgroup.controllers").split()
            given = self.files.read(f"{path}/cgroup.subtree_control").split()
        except OSError:
            return
        for controller in NAMES:
            if controller in has and controller not in given:
                with suppress(OSError):
                    self._give_one(path, controller)

    def _give_one(self, path: str, controller: str) -> None:
        file = f"{path}/cgroup.subtree_control"
        try:
            self.files.write(file, f"+{controller}")
        except OSError as error:
            if error.errno != errno.EBUSY or self.own is None or path != self.top + self.own:
                raise
            with suppress(FileExistsError):
                self.files.make(f"{path}/{DAEMON}")
            self.files.write(f"{path}/{DAEMON}/cgroup.procs", str(os.getpid()))
            self.files.write(file, f"+{controller}")

    def find(self) -> None:
        try:
            has = self.files.read(f"{self.folder()}/cgroup.controllers").split()
        except OSError:
            self.controllers = frozenset()
            return
        self.controllers = frozenset({"cpuacct", *(NAMES[one] for one in has if one in NAMES)})

    def add(self, name: str) -> None:
        self.make_folder(f"{self.folder()}/{name}")
        if self.read("", "cgroup.type", name) != "threaded":
            self.write("", "cgroup.type", "threaded", name)

    def drop(self, name: str) -> None:
        self.remove_child(f"{self.folder()}/{name}")

    def enter(self, pid: int) -> None:
        self.write("", "cgroup.procs", pid, EMULATOR)

    def move(self, name: str, thread: int) -> None:
        self.write("", "cgroup.threads", thread, name)

    def remove(self) -> bool:
        return self.remove_tree(self.folder())

    def shares(self) -> int:
        return self.number("cpu", "cpu.weight")

    def set_shares(self, shares: int) -> None:
        check_range("shares", shares, SHARES)
        self.write("cpu", "cpu.weight", shares)

    def bandwidth(self, name: str) -> tuple[int, int]:
        quota, period = self._cpu_max(name)
        return int(period), NO_QUOTA if quota == "max" else int(quota)

    def _cpu_max(self, name: str) -> tuple[str, str]:
        text = self.read("cpu", "cpu.max", name)
        quota, _, period = text.partition(" ")
        if not period.isdecimal() or not (quota == "max" or quota.isdecimal()):
            raise InternalError(f"Failed to parse value '{text}' from cpu.max.", domain=c.VIR_FROM_CGROUP)
        return quota, period

    def set_period(self, name: str, period: int) -> None:
        self.write("cpu", "cpu.max", f"{self._cpu_max(name)[0]} {period}", name)

    def set_quota(self, name: str, quota: int) -> None:
        self.write("cpu", "cpu.max", "max" if quota < 0 or quota >= NO_QUOTA else quota, name)

    def memory_limit(self, name: str) -> int:
        if not self.files.exists(self.place("memory", MEMORY_FILES[name])):
            return UNLIMITED  # a kernel that does not count swap
        if self.read("memory", MEMORY_FILES[name]) == "max":
            return UNLIMITED
        return min(self.number("memory", MEMORY_FILES[name]) >> 10, UNLIMITED)

    def set_memory_limit(self, name: str, limit: int) -> None:
        self.write("memory", MEMORY_FILES[name], "max" if limit >= UNLIMITED else limit << 10)

    def weight(self) -> int:
        text = self.read("blkio", self.weight_file("io.bfq.weight", "io.weight"))
        first = text.partition("\n")[0].removeprefix("default ")
        if not first.isdecimal():
            raise InternalError(f"Unable to parse '{first}' as an integer", domain=c.VIR_FROM_CGROUP)
        return int(first)

    def set_weight(self, weight: int) -> None:
        file = self.weight_file("io.bfq.weight", "io.weight")
        self.write("blkio", file, weight if file == "io.bfq.weight" else f"default {weight}")

    def set_device_limit(self, name: str, path: str, limit: int) -> None:
        file, value = "io.max", f"{DEVICE_KEYS.get(name)}={limit or 'max'}"
        if name == "weight":
            file, value = self.weight_file("io.weight"), f"{limit or 'default'}"
        self.write("blkio", file, f"{device_number(self.files, path)} {value}")

    def times(self) -> CpuTimes:
        lines = (line.partition(" ") for line in self.read("cpuacct", "cpu.stat").splitlines())
        counted = {name: value for name, _, value in lines}
        try:
            total, user, system = (
                int(counted[f"{what}_usec"]) * 1000 for what in ("usage", "user", "system")
            )
        except (KeyError, ValueError):
            raise InternalError("cannot parse cpu usage stat", domain=c.VIR_FROM_CGROUP) from None
        return CpuTimes(total, user, system)

    def times_by_cpu(self, name: str) -> list[int]:
        text = "operation 'getCpuacctPercpuUsage' not supported for backend 'cgroup V2'"
        raise OperationUnsupported(text, domain=c.VIR_FROM_CGROUP)

    def set_cpuset(self, name: str, what: str, members: str) -> None:
        self.write("cpuset", f"cpuset.{what}", members, name)
