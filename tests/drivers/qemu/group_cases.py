"""What tests of control groups share: a group that is pretended, and checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.control_groups.group import (
    UNLIMITED,
    ControlGroup,
)
from remotevirt.errors import VirError
from tests.drivers.qemu.pretended_groups import (
    PretendedFiles,
    v1_layout,
)

__all__ = ["NAME", "PATH", "GroupCase", "refused", "set_all"]


NAME = "qemu-1-g.libvirt-qemu"
PATH = f"/machine/{NAME}"


class GroupCase(TestCase):
    """A guest's group on a host that is pretended, of one of the versions."""

    layout = staticmethod(v1_layout)
    controllers = ""
    """What its tree of version 2 has."""

    def setUp(self) -> None:
        """Choose the groups, and name the guest's."""
        self.files = PretendedFiles(self.controllers)
        self.groups = Groups.choose(self.layout(), self.files, "/")
        self.group = self.groups.group(PATH)

    def make(self) -> None:
        """Make the group, and those of two threads."""
        self.group.make(self.groups.makeable)
        for name in ("emulator", "vcpu0"):
            self.group.add(name)


def set_all(group: ControlGroup) -> None:
    """Set one of everything."""
    group.set_shares(262144 if "v1" in type(group).__module__ else 10000)
    group.set_period("", 50000)
    group.set_quota("vcpu0", 20000)
    group.set_memory_limit("hard_limit", 100)
    group.set_memory_limit("soft_limit", UNLIMITED)
    group.set_memory_limit("swap_hard_limit", 200)
    group.set_weight(300)
    for limit, name in enumerate(("read_iops", "write_iops", "read_bytes"), 1):
        group.set_device_limit(name, "/dev/vda", limit)
    group.set_device_limit("write_bytes", "/dev/vda", 0)
    group.set_cpuset("vcpu0", "cpus", "1-2")
    group.set_cpuset("emulator", "mems", "0")


def refused(
    case: TestCase, kind: type[VirError], text: str, call: Callable[..., Any], *arguments: Any
) -> None:
    """Check that a call is refused so."""
    error = case.assertRaises(kind, call, *arguments)
    case.assertIn(text, str(error))
