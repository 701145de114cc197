"""The machine that the daemon runs on: where its figures are read, and what of them is kept.

What changes only when CPUs or NUMA cells come and go is read once and kept as long as the kernel's lists of
those stay the same. Methods read files: call them from a thread.
"""

from __future__ import annotations

import functools
import os
import socket
import uuid as uuids
from typing import Final
from uuid import UUID

from remotevirt.drivers.host.files import Files
from remotevirt.drivers.host.kvm import tsc_counter
from remotevirt.drivers.host.memory import Memory
from remotevirt.drivers.host.processor import Processor, read_processor
from remotevirt.drivers.host.sysinfo import read_sysinfo
from remotevirt.drivers.host.topology import CPUS, NODES, Topology, read_topology

__all__ = ["Host"]

DMI: Final = "/sys/class/dmi/id"

ARCHITECTURES: Final = {"i386": "i686", "i486": "i686", "i586": "i686", "amd64": "x86_64", "arm64": "aarch64"}
"""What the kernel calls some architectures, and what libvirt does."""


def is_valid_uuid(uuid: UUID) -> bool:
    """Return whether a host's UUID is one: firmware that has none says nothing but zeros, or ones."""
    return len(set(uuid.bytes)) > 1


class Host:
    """The host.

    Args:
        root: where /proc, /sys and /etc are read: ``/`` but in tests.
        uuid: what the host is to be called, None for what its firmware says.
        base_label: what guests run as, in the form ``+64055:+64055``; None if the daemon cannot choose.
    """

    def __init__(self, root: str = "/", *, uuid: UUID | None = None, base_label: str | None = None) -> None:
        self.files = Files(root)
        self.memory = Memory(self.files)
        self.base_label = base_label
        self._uuid = uuid
        self._topology: tuple[tuple[str | None, ...], Topology] | None = None
        self._names: dict[str, str] = {}

    @functools.cached_property
    def arch(self) -> str:
        """The architecture, in libvirt's words."""
        machine = os.uname().machine
        return ARCHITECTURES.get(machine, machine)

    @functools.cached_property
    def uuid(self) -> UUID:
        """What identifies the host.

        That is the configured UUID; or what the firmware says, which only root may read; or one made from
        the machine's id, and therefore always the same; or a random one, which lasts as long as the daemon.
        """
        if self._uuid is not None:
            return self._uuid
        for name in (f"{DMI}/product_uuid", "/etc/machine-id"):
            try:
                found = UUID(self.files.read(name, 64) or "")
            except ValueError:
                continue
            if is_valid_uuid(found):
                # The id itself is not for strangers to know: what is told is derived from it.
                return uuids.uuid5(found, "remotevirt") if name.startswith("/etc") else found
        return uuids.uuid4()

    @functools.cached_property
    def processor(self) -> Processor:
        """The processor."""
        return read_processor(self.files, self.arch)

    @functools.cached_property
    def sysinfo(self) -> str | None:
        """What the firmware says, as libvirt's document; None if nobody can read it. It takes a process."""
        return read_sysinfo(self.files, self.arch)

    @functools.cached_property
    def tsc(self) -> tuple[int, bool] | None:
        """The frequency of the time stamp counter in Hz, and whether it scales; None if nobody knows."""
        return tsc_counter() if self.files.is_live and self.arch in {"x86_64", "i686"} else None

    def topology(self) -> Topology:
        """Return how the CPUs are arranged."""
        lists = (f"{CPUS}/present", f"{CPUS}/online", f"{NODES}/online")
        state = tuple(self.files.read(name) for name in lists)
        kept = self._topology
        if kept is None or kept[0] != state:
            kept = self._topology = state, read_topology(self.files)
        return kept[1]

    def name(self) -> str:
        """Return the host's name, with its domain if the resolver knows it.

        The resolver may ask the network, so it is asked once for each name that the host has.
        """
        short = socket.gethostname()
        if "." in short or short.startswith("localhost"):
            return short
        if short not in self._names:
            self._names[short] = _canonical(short)
        return self._names[short]


def _canonical(name: str) -> str:
    """Return a name as the resolver spells it, unless that says nothing (``localhost``)."""
    try:
        found = socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)
    except OSError:
        return name
    canonical = found[0][3] if found else ""
    return name if not canonical or canonical.startswith("localhost") else canonical
