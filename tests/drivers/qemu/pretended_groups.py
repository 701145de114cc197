"""Control groups of a kernel that is pretended: trees in memory, with the rules that matter to a driver."""

from __future__ import annotations

import errno
import os
import stat

from remotevirt.drivers.qemu.control_groups.files import GroupFiles
from remotevirt.drivers.qemu.control_groups.layout import Layout

__all__ = ["UNIFIED", "V1_TOPS", "PretendedFiles", "v1_layout", "v2_layout"]

UNIFIED = "/cg2"
V1_TOPS = {
    "cpu": "/cg/cpu,cpuacct",
    "cpuacct": "/cg/cpu,cpuacct",
    "cpuset": "/cg/cpuset",
    "memory": "/cg/memory",
    "blkio": "/cg/blkio",
}

V1_FILES = {
    "cpu": {"cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1"},
    "cpuacct": {
        "cpuacct.usage": "12345678",
        "cpuacct.stat": "user 3\nsystem 4",
        "cpuacct.usage_percpu": "1000 2000 ",
    },
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": "", "cpuset.memory_migrate": "0"},
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712",
        "memory.soft_limit_in_bytes": "9223372036854771712",
        "memory.memsw.limit_in_bytes": "9223372036854771712",
    },
    "blkio": {
        "blkio.bfq.weight": "100",
        "blkio.throttle.read_iops_device": "",
        "blkio.throttle.write_iops_device": "",
        "blkio.throttle.read_bps_device": "",
        "blkio.throttle.write_bps_device": "",
    },
}
"""What is in a new group of each controller of version 1."""

V2_FILES = {
    "cpu": {"cpu.weight": "100", "cpu.max": "max 100000"},
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
    "memory": {"memory.max": "max", "memory.high": "max", "memory.swap.max": "max"},
    "io": {"io.weight": "default 100", "io.max": ""},
}
V2_CORE = {
    "cgroup.type": "domain",
    "cgroup.controllers": "",
    "cgroup.subtree_control": "",
    "cgroup.procs": "",
    "cgroup.threads": "",
    "cpu.stat": "usage_usec 500\nuser_usec 300\nsystem_usec 200\nnr_periods 0",
}


def v1_layout() -> Layout:
    """A host with version 1; as with systemd, the tree of version 2 is there, and has no controllers."""
    return Layout(V1_TOPS, UNIFIED)


def v2_layout() -> Layout:
    """A host with version 2."""
    return Layout({}, UNIFIED)


class PretendedFiles(GroupFiles):
    """The files of both versions.

    Attributes:
        written: the writes so far: path and text.
        made: the groups that were made.
        done: both, in order; for a group that was made the text is empty.
        old: groups that were made long ago; all others were just now.
        refused: paths whose writing, making or reading fails: with which number.
        owned: groups that systemd has left to us.
        devices: block devices.
    """

    __slots__ = ("devices", "done", "folders", "made", "old", "owned", "refused", "where", "written")

    def __init__(self, controllers: str = "cpuset cpu io memory pids") -> None:
        self.written: list[tuple[str, str]] = []
        self.made: list[str] = []
        self.done: list[tuple[str, str]] = []
        self.old: set[str] = set()
        self.refused: dict[str, int] = {}
        self.owned: set[str] = set()
        self.devices = {"/dev/vda": os.makedev(254, 0)}
        self.where: dict[tuple[str, str], str] = {}
        self.folders: dict[str, dict[str, str]] = {}
        for top in dict.fromkeys(V1_TOPS.values()):
            self.folders[top] = self._new_v1(top)
        for file in ("cpuset.cpus", "cpuset.mems"):
            self.folders[V1_TOPS["cpuset"]][file] = "0-3" if file == "cpuset.cpus" else "0-1"
        self.folders[UNIFIED] = {**V2_CORE, "cgroup.controllers": controllers}

    def _new_v1(self, top: str) -> dict[str, str]:
        found = {"cgroup.procs": "", "tasks": ""}
        for controller, place in V1_TOPS.items():
            if place == top:
                found |= V1_FILES[controller]
        return found

    def _file(self, path: str) -> tuple[dict[str, str], str]:
        folder, _, file = path.rpartition("/")
        if path in self.refused:
            raise _error(self.refused[path], path)
        if file not in self.folders.get(folder, {}):
            raise _error(errno.ENOENT, path)
        return self.folders[folder], file

    def exists(self, path: str) -> bool:
        """Return whether a file or folder is there."""
        folder, _, file = path.rpartition("/")
        return path in self.folders or file in self.folders.get(folder, {})

    def read(self, path: str) -> str:
        """Return what a file says."""
        files, file = self._file(path)
        return files[file]

    def children(self, path: str) -> list[str]:
        """Return the names of the groups below a group."""
        if path not in self.folders:
            raise _error(errno.ENOENT, path)
        below = (other.removeprefix(f"{path}/") for other in self.folders if other.startswith(f"{path}/"))
        return [name for name in below if "/" not in name]

    def age(self, path: str) -> float:
        """Return how old a group is."""
        return 3600.0 if path in self.old else 0.0

    def make(self, path: str) -> None:
        """Make a group."""
        above = path.rpartition("/")[0]
        if path in self.refused:
            raise _error(self.refused[path], path)
        if path in self.folders:
            raise _error(errno.EEXIST, path)
        if above not in self.folders:
            raise _error(errno.ENOENT, path)
        self.made.append(path)
        self.done.append((path, ""))
        if path.startswith(f"{UNIFIED}/"):
            given = self.folders[above]["cgroup.subtree_control"]
            self.folders[path] = {**V2_CORE, "cgroup.controllers": given}
            for controller in given.split():
                self.folders[path] |= V2_FILES.get(controller, {})
        else:
            top = next(top for top in V1_TOPS.values() if path.startswith(f"{top}/"))
            self.folders[path] = self._new_v1(top)

    def remove(self, path: str) -> None:
        """Remove a group."""
        if path not in self.folders:
            raise _error(errno.ENOENT, path)
        if self.children(path) or path in self.where.values():
            raise _error(errno.EBUSY, path)
        del self.folders[path]

    def write(self, path: str, text: str) -> None:
        """Write into a file."""
        files, file = self._file(path)
        folder = path.rpartition("/")[0]
        if file == "cgroup.subtree_control":
            self._give(folder, text)
        elif file in ("cgroup.procs", "tasks", "cgroup.threads"):
            self._move(folder, text)
        elif file == "cpu.max":
            files[file] = text if " " in text else f"{text} {files[file].split()[1]}"
        else:
            files[file] = text
        self.written.append((path, text))
        self.done.append((path, text))

    def _give(self, folder: str, text: str) -> None:
        files, controller = self.folders[folder], text.removeprefix("+")
        if controller not in files["cgroup.controllers"].split():
            raise _error(errno.ENOENT, folder)
        threaded = controller in ("cpu", "cpuset")
        if folder != UNIFIED and folder in self.where.values() and not threaded:
            raise _error(errno.EBUSY, folder)
        given = [*files["cgroup.subtree_control"].split(), controller]
        files["cgroup.subtree_control"] = " ".join(given)
        for name in self.children(folder):
            child = self.folders[f"{folder}/{name}"]
            child["cgroup.controllers"] = " ".join(given)
            child.update(V2_FILES.get(controller, {}))

    def _move(self, folder: str, text: str) -> None:
        top = next(top for top in (*V1_TOPS.values(), UNIFIED) if f"{folder}/".startswith(f"{top}/"))
        if folder == V1_TOPS["cpuset"]:
            raise _error(errno.EINVAL, folder)
        if top == V1_TOPS["cpuset"] and not self.folders[folder]["cpuset.cpus"]:
            raise _error(errno.ENOSPC, folder)
        self.where[top, text] = folder

    def end(self, *numbers: int) -> None:
        """End processes or threads."""
        self.where = {key: place for key, place in self.where.items() if int(key[1]) not in numbers}

    def device(self, path: str) -> os.stat_result:
        """Return what a device's file is."""
        if path not in self.devices:
            raise _error(errno.ENOENT, path)
        mode = stat.S_IFBLK if self.devices[path] else stat.S_IFREG
        return _Device(mode, self.devices[path])  # type: ignore[return-value]

    def delegated(self, path: str) -> bool:
        """Return whether a group was left to us."""
        return path in self.owned


class _Device:
    """As much of what ``stat`` tells as is asked for."""

    def __init__(self, mode: int, number: int) -> None:
        self.st_mode = mode
        self.st_rdev = number


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
