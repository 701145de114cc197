"""Where a host has its control groups, and what those of guests are called.

A host has either one tree of groups for all controllers (version 2), or a tree for each controller or few of
them (version 1); some have both, and then the trees with controllers count. Names are libvirt's, where
systemd does not make the groups::

    /machine/qemu-1-guest.libvirt-qemu/              memory, block I/O, shares, the bound for all threads
                                      emulator/      threads that are neither of the following
                                      vcpu0/ ...     the thread of a virtual CPU
                                      iothread1/ ... an IO thread
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from remotevirt.drivers.mounts import Mount, read_mounts

__all__ = ["CONTROLLERS", "EMULATOR", "PARTITION", "Layout", "group_name", "own_group", "partition_path"]

CONTROLLERS: Final = ("cpu", "cpuacct", "cpuset", "memory", "blkio")
"""The controllers that are used, by their names in version 1."""

PARTITION: Final = "/machine"
"""The group that guests are below, unless somebody says another."""

EMULATOR: Final = "emulator"

LONGEST_NAME: Final = 64
"""Characters after which libvirt adds no more of a domain's name."""

_WITHOUT_SUFFIX: Final = frozenset({"machine", "user", "system"})
"""Groups at the top that libvirt does not call partitions."""


@attrs.frozen
class Layout:
    """Where the trees are mounted.

    Attributes:
        controllers: of version 1, the tops of their trees; controllers may share one.
        unified: the top of the tree of version 2, None if it is not mounted.
    """

    controllers: Mapping[str, str] = attrs.field(factory=dict)
    unified: str | None = None

    @classmethod
    def of(cls, mounts: Iterable[Mount]) -> Layout:
        """Find it in what is mounted."""
        controllers: dict[str, str] = {}
        unified = None
        for mount in mounts:
            if mount.kind == "cgroup2":
                unified = unified or mount.place
            elif mount.kind == "cgroup":
                for option in mount.options.split(","):
                    if option in CONTROLLERS:
                        controllers.setdefault(option, mount.place)
        return cls(controllers, unified)

    @classmethod
    def of_host(cls) -> Layout:
        """Read it for this process; where that cannot be, there are no control groups."""
        try:
            # what is mounted above a tree hides it, as in a namespace with another /sys
            return cls.of(mount for mount in read_mounts() if os.path.isdir(mount.place))
        except OSError:
            return cls()


def own_group(cgroup: str) -> str | None:
    """Return the group of version 2 that a process is in, out of its ``/proc/PID/cgroup``."""
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers and path.startswith("/"):
            return path
    return None


def partition_path(partition: str) -> str:
    """Return the path of what a definition calls a partition: ``/machine/a`` is ``/machine/a.partition``.

    Raises:
        ValueError: it leads elsewhere, or is no path.
    """
    parts = [part for part in partition.split("/") if part]
    if not partition.startswith("/") or not parts or any(part in (".", "..") for part in parts):
        raise ValueError(partition)
    named = [
        part if (place == 0 and part in _WITHOUT_SUFFIX) or "." in part else f"{part}.partition"
        for place, part in enumerate(parts)
    ]
    return "".join(f"/{part}" for part in named)


def group_name(number: int, name: str, again: int = 1) -> str:
    """Return the name of a guest's group.

    Args:
        number: the domain's id.
        name: the domain's name.
        again: 1, or more where others have the names for less.
    """
    shown = f"qemu-{number}-"
    apart = True
    for letter in name:
        if len(shown) >= LONGEST_NAME:
            break
        if letter in "-.":
            shown += "" if apart else letter
            apart = True
            continue
        apart = False
        if letter.isascii() and letter.isalnum():
            shown += letter
    shown = shown.rstrip("-.")
    return f"{shown}{'' if again == 1 else f'.{again}'}.libvirt-qemu"
