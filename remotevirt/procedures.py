"""The rows of a procedure table: what the generated stubs say about one procedure.

A :class:`Procedure` is a fact of the contract and is shared by everyone. What a connection adds to it (the
bound method of its driver, its rights) lives in the dispatcher's rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

__all__ = [
    "FilesResult",
    "Kept",
    "Message",
    "Permission",
    "Procedure",
    "Program",
    "Result",
    "StreamResult",
]

T = TypeVar("T")

Result: TypeAlias = T | Awaitable[T]
"""What a driver method returns: the value, or a Deferred or coroutine of it."""


class StreamResult(NamedTuple, Generic[T]):
    """What a method returns whose procedure opens a stream.

    Attributes:
        stream: the driver's end of the stream (:class:`remotevirt.drivers.DriverStream`).
        value: what the reply itself carries; None for a procedure without a result.
    """

    stream: Any
    value: T


class FilesResult(NamedTuple, Generic[T]):
    """What a method returns whose procedure's reply carries descriptors.

    Attributes:
        files: the descriptors; the server closes them once they are sent, or cannot be.
        value: what the reply itself carries; None for a procedure without a result.
    """

    files: Sequence[int]
    value: T


class Message(Protocol):
    """What every generated struct can do. The structs are NamedTuples."""

    def pack(self) -> bytes:
        """Return the XDR encoding; raises XDRError or struct.error if a value does not fit."""

    @staticmethod
    def unpack(buf: bytes, pos: int) -> tuple[Any, int]:
        """Decode at ``pos``; return the struct and the position behind it."""


class Permission(NamedTuple):
    """One access check of a procedure.

    Attributes:
        object, permission: libvirt's names (``"domain"``, ``"read_secure"``).
        flags: the check counts only if all of these bits are set in the argument ``flags``; 0: always.
        unless: the check counts only if none of these bits is set; 0: always.
        param, value: the check counts only if this argument equals ``value``; None: always.
    """

    object: str
    permission: str
    flags: int = 0
    unless: int = 0
    param: str | None = None
    value: int = 0


def _pack(value: Message) -> bytes:
    """Encode a result's struct (faster than a methodcaller)."""
    return value.pack()


class Procedure:
    """One procedure of a program, with its codecs.

    Attributes:
        number, name: number and lower-case name without the program's prefix.
        args, ret: struct types of argument and result; None for void. An event's message is ``args``.
        decode: ``decode(buf, pos) -> (args, end)``, the arguments as a plain tuple; None without any.
        encode: encodes what a driver method returns: the bare value of a result with one field, otherwise
            the result's struct. None without a result.
        api: libvirt's function, which "not supported" errors name; None where there is none.
        driver: the sub-driver that answers ("hypervisor", "network", ...), None if the daemon itself does.
        error_domain: the error domain (VIR_FROM_*) in which libvirt's public function refuses a call.
        acl, aclfilter: access checks; ``acl`` None means that the program declares none.
        high_priority: libvirt would serve it even if all its ordinary workers hang.
        readstream, writestream: opens a stream towards the client, from the client.
        sparseflag: the flag that makes this stream carry holes, 0 if none does.
        fds_in, fds_out: the call, the reply carries descriptors.
        event: sent by the server, never called.
        pre_auth: allowed before authentication.
        since: libvirt's first version with it.
    """

    __slots__ = (
        "acl",
        "aclfilter",
        "api",
        "args",
        "decode",
        "driver",
        "encode",
        "error_domain",
        "event",
        "fds_in",
        "fds_out",
        "high_priority",
        "name",
        "number",
        "pre_auth",
        "readstream",
        "ret",
        "since",
        "sparseflag",
        "writestream",
    )

    def __init__(
        self,
        number: int,
        name: str,
        *,
        args: type[Any] | None = None,
        ret: type[Any] | None = None,
        api: str | None = None,
        since: str | None = None,
        driver: str | None = None,
        error_domain: int = 0,
        acl: tuple[Permission, ...] | None = None,
        aclfilter: tuple[Permission, ...] = (),
        high_priority: bool = False,
        readstream: bool = False,
        writestream: bool = False,
        sparseflag: int = 0,
        fds_in: bool = False,
        fds_out: bool = False,
        event: bool = False,
        pre_auth: bool = False,
    ) -> None:
        self.number = number
        self.name = name
        self.args = args
        self.ret = ret
        self.decode: Callable[[bytes, int], tuple[Any, int]] | None = (
            getattr(args, "decode", args.unpack) if args else None
        )
        self.encode: Callable[[Any], bytes] | None = getattr(ret, "encode", _pack) if ret else None
        self.api = api
        self.since = since
        self.driver = driver
        self.error_domain = error_domain
        self.acl = acl
        self.aclfilter = aclfilter
        self.high_priority = high_priority
        self.readstream = readstream
        self.writestream = writestream
        self.sparseflag = sparseflag
        self.fds_in = fds_in
        self.fds_out = fds_out
        self.event = event
        self.pre_auth = pre_auth

    @property
    def opens_stream(self) -> bool:
        """Whether the call opens a stream, in whichever direction."""
        return self.readstream or self.writestream

    def __repr__(self) -> str:
        return f"<Procedure {self.number} {self.name}>"


class Program:
    """A program's number and version, and its procedures by number and by name."""

    __slots__ = ("by_name", "name", "number", "procedures", "version")

    def __init__(self, name: str, number: int, version: int, procedures: tuple[Procedure, ...]) -> None:
        self.name = name
        self.number = number
        self.version = version
        self.procedures = {procedure.number: procedure for procedure in procedures}
        self.by_name = {procedure.name: procedure for procedure in procedures}

    def __repr__(self) -> str:
        return f"<Program {self.name} {self.number:#x} version {self.version}>"


class Kept:
    """A mixin for generated structs that are sent often: the encoding is made once and kept.

    Put it in front of the struct: ``class DomainRef(Kept, NonnullDomain): ...``. The structs are
    immutable, so the encoding stays true.
    """

    wire: bytes | None = None

    def pack(self) -> bytes:
        """Return the encoding of the struct behind this mixin."""
        wire = self.wire
        if wire is None:
            wire = self.wire = super().pack()  # type: ignore[misc]
        return wire
