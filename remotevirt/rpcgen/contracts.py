"""The contracts that come with the package: which files they are made of, and how to load one.

======================  ==================================================================================
``message``             the frame: header, error, stream hole
``keepalive``           ping and pong
``remote``              hypervisors; one file for each kind of object
``qemu``, ``lxc``       what only these hypervisors have; they include ``remote/types.x``
``admin``               the daemon itself
======================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import attrs

from remotevirt.rpcgen.loader import load_files
from remotevirt.rpcgen.model import Contract

__all__ = ["CONTRACTS", "ContractFiles", "load_contract"]


@attrs.frozen
class ContractFiles:
    """Where a contract stands.

    Attributes:
        files: paths below ``remotevirt/protocol``, in order.
        imports: the contracts whose types it uses.
        drivers: stem of a file -> the sub-driver that answers its procedures.
    """

    files: tuple[str, ...]
    imports: tuple[str, ...] = ()
    drivers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def stems(self) -> tuple[str, ...]:
        """The files' names without folder and ending: what :attr:`drivers` and the stubs' modules go by."""
        return tuple(Path(file).stem for file in self.files)


_REMOTE_DRIVERS = {
    "types": None,
    "auth": None,
    "connect": "hypervisor",
    "domain": "hypervisor",
    "event": None,
    "snapshot": "hypervisor",
    "checkpoint": "hypervisor",
    "network": "network",
    "storage": "storage",
    "interface": "interface",
    "nodedev": "nodedev",
    "nwfilter": "nwfilter",
    "secret": "secret",
}
"""The files of the remote program. Those without a sub-driver are the daemon's own business."""

CONTRACTS: Mapping[str, ContractFiles] = {
    "message": ContractFiles(("message.x",)),
    "keepalive": ContractFiles(("keepalive.x",)),
    "remote": ContractFiles(
        files=tuple(f"remote/{stem}.x" for stem in _REMOTE_DRIVERS),
        drivers={stem: driver for stem, driver in _REMOTE_DRIVERS.items() if driver},
    ),
    "qemu": ContractFiles(("qemu.x",), imports=("remote",), drivers={"qemu": "hypervisor"}),
    "lxc": ContractFiles(("lxc.x",), imports=("remote",), drivers={"lxc": "hypervisor"}),
    "admin": ContractFiles(("admin.x",)),
}
"""Every contract by its name, each after those it imports."""


def load_contract(name: str) -> Contract:
    """Load one of our own contracts.

    The definitions it uses from another contract are part of it, behind its own; programs of others are not.
    Where a definition comes from is told by its location: a path that ends as :attr:`ContractFiles.files`
    says.

    Raises:
        KeyError: there is no such contract.
        RpcgenError: its text is wrong.
    """
    folder = Path(str(resources.files("remotevirt").joinpath("protocol")))
    return load_files([folder / file for file in CONTRACTS[name].files]).contract
