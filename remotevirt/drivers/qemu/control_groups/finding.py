"""Which control groups guests of this daemon can have.

Where the operator says nothing: those of version 2 if that tree has controllers, otherwise those of
version 1, below ``/machine``. If systemd has left the daemon a part of the tree (``Delegate=``) and put it
into a group of its own in there (``DelegateSubgroup=``), then ``/machine`` is in that part. The operator may
name another group that everything is below, or have no groups.
"""

from __future__ import annotations

import attrs

from remotevirt.drivers.qemu.control_groups.files import GroupFiles
from remotevirt.drivers.qemu.control_groups.group import ControlGroup
from remotevirt.drivers.qemu.control_groups.layout import (
    PARTITION,
    Layout,
    group_name,
    own_group,
    partition_path,
)
from remotevirt.drivers.qemu.control_groups.v1 import V1Group
from remotevirt.drivers.qemu.control_groups.v2 import NAMES, V2Group

__all__ = ["Groups"]


@attrs.frozen
class Groups:
    """The groups of all guests.

    Attributes:
        layout: where the trees are.
        files: the door to the kernel's files.
        unified: whether those of version 2 are used.
        base: the group that partitions are below, from the top; empty for the top.
        own: the group of version 2 that the daemon is in.
        delegated: the group of version 2 that we may change, from the top; empty for all.
        enabled: whether guests that start get groups.
    """

    layout: Layout
    files: GroupFiles
    unified: bool = False
    base: str = ""
    own: str | None = None
    delegated: str = ""
    enabled: bool = True

    @classmethod
    def of_host(cls, base: str | None = None, *, enabled: bool = True) -> Groups:
        """Look at the host.

        Args:
            base: the group that the operator names.
            enabled: whether the operator wants groups.
        """
        try:
            with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
                own = own_group(file.read())
        except OSError:
            own = None
        return cls.choose(Layout.of_host(), GroupFiles(), own, base, enabled=enabled)

    @classmethod
    def choose(
        cls,
        layout: Layout,
        files: GroupFiles,
        own: str | None,
        base: str | None = None,
        *,
        enabled: bool = True,
    ) -> Groups:
        """Decide which groups there are on a host that is so."""
        own = None if own is None else own.rstrip("/")
        unified = layout.unified is not None and (not layout.controllers or _has_controllers(layout, files))
        if not unified or base is not None:
            return cls(layout, files, unified, base or "", own, enabled=enabled)
        part = (own or "").rpartition("/")[0]
        delegated = part if part and files.delegated(f"{layout.unified}{part}") else ""
        return cls(layout, files, unified, delegated, own, delegated, enabled)

    @property
    def available(self) -> bool:
        """Whether the host has any, and they are wanted."""
        return self.enabled and (self.unified or bool(self.layout.controllers))

    def path(self, partition: str | None, number: int, name: str, again: int = 1) -> str:
        """Return the path of a guest's group.

        Args:
            partition: what its definition says.
            number: the domain's id.
            name: the domain's name.
            again: 1, or more where others have the names for less.

        Raises:
            ValueError: that is no partition.
        """
        return f"{self.base}{partition_path(partition or PARTITION)}/{group_name(number, name, again)}"

    def group(self, path: str) -> ControlGroup:
        """Return the groups of a guest, which need not be there."""
        if not self.unified:
            return V1Group(self.layout, self.files, path)
        group = V2Group(self.layout, self.files, path)
        group.own, group.from_group = self.own, self.delegated
        return group

    @property
    def makeable(self) -> str:
        """The groups that may be made on the way: those on this path."""
        return self.base + PARTITION


def _has_controllers(layout: Layout, files: GroupFiles) -> bool:
    """Return whether the tree of version 2 has a controller that is of use."""
    try:
        has = files.read(f"{layout.unified}/cgroup.controllers").split()
    except OSError:
        return False
    return not NAMES.keys().isdisjoint(has)
