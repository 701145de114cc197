"""The contracts that come with the package: which files they are made of, and how to load one.

======================  ==================================================================================
``message``             the frame: header, error, stream hole
``keepalive``           ping and pong
``remote``              hypervisors; one file for each kind of object
``qemu``, ``lxc``       what only these hypervisors have; they use the types of ``remote``
``admin``               the daemon itself
======================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import attrs

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import Contract, Definition
from remotevirt.rpcgen.parser import parse
from remotevirt.rpcgen.resolve import resolve

__all__ = ["CONTRACTS", "ContractFiles", "load_contract", "read"]


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


def read(path: Path) -> str:
    """Read a contract file.

    Raises:
        RpcgenError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise RpcgenError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RpcgenError(f"{path}: not UTF-8 text (byte {error.start})") from error


def load_contract(name: str) -> Contract:
    """Load one of our own contracts.

    The definitions of the contracts it imports are part of it, behind its own; their programs are not. Where
    a definition comes from is told by its location: a path that ends as :attr:`ContractFiles.files` says.

    Raises:
        KeyError: there is no such contract.
        RpcgenError: its text is wrong.
    """
    files = CONTRACTS[name]
    folder = Path(str(resources.files("remotevirt").joinpath("protocol")))
    documents = [parse(read(folder / file), str(folder / file)) for file in files.files]
    imports: list[Definition] = []
    for other in files.imports:
        imports += load_contract(other).definitions
    return resolve(documents, imports).contract
