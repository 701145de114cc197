"""A guest's control groups: what can be asked of them and told to them, whatever the version of their files.

The kernel refuses what it does not like; what libvirt refuses before that is refused here. A guest's own
threads are in groups below its group, by their names (``emulator``, ``vcpu0``, ``iothread1``); the empty name
is the guest's group itself.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from remotevirt.drivers.qemu.control_groups.files import GroupFiles, unmade, unreadable, unwritable
from remotevirt.drivers.qemu.control_groups.layout import Layout
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, InvalidArg, OperationInvalid, VirSystemError

__all__ = [
    "DEVICE_LIMITS",
    "MEMORY_LIMITS",
    "NOT_ALLOWED",
    "UNLIMITED",
    "ControlGroup",
    "CpuTimes",
    "check_range",
    "device_number",
]

UNLIMITED: Final[int] = c.VIR_DOMAIN_MEMORY_PARAM_UNLIMITED

MEMORY_LIMITS: Final = ("hard_limit", "soft_limit", "swap_hard_limit")
"""The elements of ``<memtune>`` that are limits here."""

DEVICE_LIMITS: Final = ("weight", "read_iops", "write_iops", "read_bytes", "write_bytes")
"""The limits of a block device."""

NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Why a group cannot be made by somebody who does well without; as in libvirt."""

LEFT_SECONDS: Final = 60.0
"""How old a group without processes is that nobody is about to use."""

NO_WEIGHT: Final = "blkio weight is valid only for bfq or cfq scheduler"
NO_DEVICE_WEIGHT: Final = "blkio device weight is valid only for cfq scheduler"


class CpuTimes(NamedTuple):
    """CPU time, in nanoseconds; that of user mode and kernel may be counted more coarsely."""

    total: int
    user: int
    system: int


class ControlGroup(ABC):
    """The groups of one guest.

    Args:
        layout: where the trees are.
        files: the door to the kernel's files.
        path: of the guest's group, from the top of each tree.

    Attributes:
        controllers: those that there are for this guest, by their names in version 1.
    """

    def __init__(self, layout: Layout, files: GroupFiles, path: str) -> None:
        self.layout = layout
        self.files = files
        self.path = path
        self.controllers: frozenset[str] = frozenset()

    @abstractmethod
    def make(self, makeable: str) -> None:
        """Make the guest's group, with the controllers that we may use: perhaps none.

        Args:
            makeable: of the groups above it, those on this path are made if they are not there.

        Raises:
            FileExistsError: somebody has a group of this name; nothing was made.
            VirError: it cannot be made; nothing was.
        """

    @abstractmethod
    def find(self) -> None:
        """Find out which controllers a group has that was made by a daemon before us."""

    @abstractmethod
    def add(self, name: str) -> None:
        """Make the group of a thread, if it is not there yet. Raises VirError."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove the group of a thread that is no more; what cannot be removed goes with the guest."""

    @abstractmethod
    def enter(self, pid: int) -> None:
        """Put a process into the guest's group, all its threads into the emulator's. Raises VirError."""

    @abstractmethod
    def move(self, name: str, thread: int) -> None:
        """Put a thread into its own group. Raises VirError."""

    @abstractmethod
    def remove(self) -> bool:
        """Remove all groups of the guest; return False while some cannot be, which have processes yet."""

    @abstractmethod
    def shares(self) -> int:
        """Return the guest's share of CPU time."""

    @abstractmethod
    def set_shares(self, shares: int) -> None:
        """Change that; raises InvalidArg out of the bounds of this version."""

    @abstractmethod
    def bandwidth(self, name: str) -> tuple[int, int]:
        """Return period and quota of a group, in microseconds; a quota below 0 is none."""

    @abstractmethod
    def set_period(self, name: str, period: int) -> None:
        """Change the period."""

    @abstractmethod
    def set_quota(self, name: str, quota: int) -> None:
        """Change the quota."""

    @abstractmethod
    def memory_limit(self, name: str) -> int:
        """Return one of the limits of memory, in KiB; UNLIMITED for none."""

    @abstractmethod
    def set_memory_limit(self, name: str, limit: int) -> None:
        """Change one; the kernel may have to free memory, and takes its time."""

    @abstractmethod
    def weight(self) -> int:
        """Return the guest's weight of block I/O; raises OperationInvalid where the kernel has none."""

    @abstractmethod
    def set_weight(self, weight: int) -> None:
        """Change that."""

    @abstractmethod
    def set_device_limit(self, name: str, path: str, limit: int) -> None:
        """Change a limit of a block device; 0 for none."""

    @abstractmethod
    def times(self) -> CpuTimes:
        """Return the CPU time of all that is or was in the guest's group."""

    @abstractmethod
    def times_by_cpu(self, name: str) -> list[int]:
        """Return the CPU time of a group on each CPU of the host; raises OperationUnsupported."""

    @abstractmethod
    def set_cpuset(self, name: str, what: str, members: str) -> None:
        """Say on which CPUs (``cpus``) a group may run, or from which nodes (``mems``) it gets memory."""

    @property
    def threaded(self) -> bool:
        """Whether threads have groups of their own."""
        return not self.controllers.isdisjoint(("cpu", "cpuacct", "cpuset"))

    def children(self) -> list[str]:
        """Return the names of the threads' groups."""
        one = next((one for one in ("cpu", "cpuset", "cpuacct") if one in self.controllers), None)
        try:
            return [] if one is None else sorted(self.files.children(self.folder(one)))
        except OSError:
            return []

    @abstractmethod
    def folder(self, controller: str) -> str:
        """Return where the guest's group is, of a controller that it has."""

    # The files, with errors in libvirt's words.

    def place(self, controller: str, file: str, name: str = "") -> str:
        """Return the path of a file."""
        return "/".join(filter(None, (self.folder(controller), name, file)))

    def read(self, controller: str, file: str, name: str = "") -> str:
        """Return what a file says. Raises VirSystemError."""
        path = self.place(controller, file, name)
        try:
            return self.files.read(path)
        except OSError as error:
            raise unreadable(path, error) from error

    def number(self, controller: str, file: str, name: str = "") -> int:
        """Return the number in a file. Raises VirError."""
        text = self.read(controller, file, name)
        try:
            return int(text)
        except ValueError:
            problem = f"Unable to parse '{text}' as an integer"
            raise InternalError(problem, domain=c.VIR_FROM_CGROUP) from None

    def write(self, controller: str, file: str, text: object, name: str = "") -> None:
        """Write into a file of a controller. Raises VirSystemError."""
        self.write_into(self.place(controller, file, name), text)

    def write_into(self, path: str, text: object) -> None:
        """Write into a file. Raises VirSystemError."""
        try:
            self.files.write(path, str(text))
        except OSError as error:
            raise unwritable(path, error) from error

    def above(self, top: str, makeable: str) -> Iterator[str]:
        """Yield the folders of the groups above the guest's, from the top of a tree on; they are made.

        Raises:
            VirSystemError: one is not there, and shall or can not be made.
        """
        yield top
        path = ""
        for part in self.path.split("/")[1:-1]:
            path += f"/{part}"
            if not self.files.exists(top + path):
                if not f"{makeable}/".startswith(f"{path}/"):
                    raise unmade(top + path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
                self.make_folder(top + path)
            yield top + path

    def make_folder(self, path: str, *, new: bool = False) -> None:
        """Make a folder.

        Raises:
            FileExistsError: it is there, and should be new; one that a guest has left behind makes way.
            VirSystemError: it cannot be made.
        """
        try:
            try:
                self.files.make(path)
            except FileExistsError:
                if not new:
                    return
                if not (self._is_left(path) and self.remove_tree(path)):
                    raise
                self.files.make(path)
        except FileExistsError:
            raise
        except OSError as error:
            raise unmade(path, error) from error

    def _is_left(self, path: str) -> bool:
        """Return whether a group is of a guest that is over, whose daemon was killed before it removed it."""
        try:
            return self.files.age(path) >= LEFT_SECONDS and not self.has_processes(path)
        except OSError:
            return False

    def is_in_use(self) -> bool:
        """Return whether there is a process in the guest's groups."""
        folders = {self.folder(controller) for controller in self.controllers}
        with suppress(OSError):  # it has just gone
            return any(self.has_processes(folder) for folder in folders)
        return False

    def has_processes(self, path: str) -> bool:
        """Return whether there is a process in a group, or one below it. Raises OSError."""
        if self.files.read(f"{path}/cgroup.procs"):
            return True
        for name in self.files.children(path):
            with suppress(OSError):  # a group of threads does not tell, but the one above it does
                if self.files.read(f"{path}/{name}/cgroup.procs"):
                    return True
        return False

    def remove_tree(self, path: str) -> bool:
        """Remove a group and those below it; return False if something is left that must go."""
        try:
            for name in self.files.children(path):
                self.files.remove(f"{path}/{name}")
            self.files.remove(path)
        except OSError as error:
            return error.errno in (errno.ENOENT, errno.ENODEV)
        return True

    def remove_child(self, path: str) -> None:
        """Remove the group of a thread, if that can be."""
        try:
            self.files.remove(path)
        except OSError:
            return  # a thread that has not quite ended; it goes with the guest's group

    def weight_file(self, *files: str) -> str:
        """Return the first of some files that the kernel has; raises OperationInvalid for none."""
        for file in files:
            if self.files.exists(self.place("blkio", file)):
                return file
        words = NO_DEVICE_WEIGHT if "device" in files[0] or len(files) == 1 else NO_WEIGHT
        raise OperationInvalid(words, domain=c.VIR_FROM_CGROUP)


def device_number(files: GroupFiles, path: str) -> str:
    """Return the kernel's number of a block device, ``8:0``; as libvirt refuses it.

    Raises:
        VirSystemError: it is not there, or no block device.
    """
    try:
        found = files.device(path)
    except (OSError, ValueError) as error:
        number = error.errno or 0 if isinstance(error, OSError) else errno.EINVAL
        text = f"Path '{path}' is not accessible: {os.strerror(number)}"
        raise VirSystemError(text, domain=c.VIR_FROM_CGROUP, int1=number) from error
    if not stat.S_ISBLK(found.st_mode):
        text = f"Path '{path}' must be a block device: {os.strerror(errno.EINVAL)}"
        raise VirSystemError(text, domain=c.VIR_FROM_CGROUP, int1=errno.EINVAL)
    return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def check_range(what: str, value: int, bounds: tuple[int, int]) -> None:
    """Refuse a number below the first or above the second bound. Raises InvalidArg."""
    least, most = bounds
    if not least <= value <= most:
        raise InvalidArg(f"{what} '{value}' must be in range [{least}, {most}]", domain=c.VIR_FROM_CGROUP)
