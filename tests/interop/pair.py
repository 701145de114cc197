"""A real libvirtd and remotevirt side by side, and what each answers to the same bytes.

:class:`Pair` starts both daemons for one test, each with a connection that keeps the driver's world alive.
``pair.each`` runs the same exchange on a fresh connection to each, ``pair.call`` one call; what comes back is
an :class:`Outcome`: the header's fields, and the payload as generated structs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs import remote
from remotevirt.stubs.message import MessageError
from tests.interop import golden
from tests.interop.daemons import Daemon, Libvirtd, Remotevirt
from tests.interop.peers import require
from tests.wire import REMOTE, Closed, Frame, WireClient

__all__ = ["CLOSED", "Outcome", "Pair", "arguments", "outcome_of", "start"]

T = TypeVar("T")

IN_ORDER = {"min_workers": 1, "max_workers": 1, "prio_workers": 0}
"""Settings that make libvirtd answer in the order of the calls: a single worker."""


class Outcome(NamedTuple):
    """What a daemon answered: the header's fields, and the payload taken apart."""

    program: int
    version: int
    procedure: int
    type: int
    serial: int
    status: int
    value: object

    def __str__(self) -> str:
        value, rest = self.value if isinstance(self.value, tuple) else (self.value, b"")
        where = f"{self.program:#x}.{self.version}.{self.procedure} type {self.type} serial {self.serial}"
        if isinstance(value, MessageError):
            set_fields = {name: field for name, field in value._asdict().items() if field is not None}
            text = f"error {set_fields}"
        else:
            text = f"status {self.status} {value}"
        return f"{text} {rest!r} ({where})" if rest else f"{text} ({where})"


CLOSED = "the connection was closed"
"""In place of an outcome."""


def arguments(name: str, *fields: Any) -> bytes:
    """The encoded arguments of a procedure of the remote program."""
    kind = remote.PROGRAM.by_name[name].args
    assert (kind is None) == (not fields), name
    return b"" if kind is None else bytes(kind(*fields).pack())


def outcome_of(frame: Frame) -> Outcome:
    """A reply, decoded; what depends on the time of day is only checked for being there."""
    decoded = golden.decode(frame)
    value: object = decoded.value
    if isinstance(value, remote.DomainGetInfoRet):
        value = value._replace(cpuTime=-1 if value.cpuTime else 0)
    program, version, procedure, type_, serial, status = frame[:6]
    return Outcome(program, version, procedure, type_, serial, status, (value, decoded.rest))


def start(case: SynchronousTestCase, daemon: Daemon) -> None:
    """Start a daemon that ends with the test."""
    case.addCleanup(daemon.stop)
    daemon.start()


class Pair:
    """Both daemons, running until the test ends.

    Args:
        case: the test that uses them; it is skipped where libvirtd is not installed.
        pki: certificates, for TLS.
    """

    def __init__(self, case: SynchronousTestCase, *, pki: Path | None = None) -> None:
        require("libvirtd")
        self.libvirtd = Libvirtd(pki=pki, settings=IN_ORDER)
        self.remotevirt = Remotevirt(pki=pki)
        for daemon in self.daemons:
            start(case, daemon)
            keeper = WireClient(str(daemon.unix))
            case.addCleanup(keeper.close)
            keeper.open()

    @property
    def daemons(self) -> tuple[Daemon, Daemon]:
        """libvirtd, then remotevirt."""
        return self.libvirtd, self.remotevirt

    def each(self, exchange: Callable[[WireClient], T], *, readonly: bool = False) -> tuple[T | str, T | str]:
        """What an exchange gives on a fresh connection to each daemon, ``CLOSED`` where it was closed."""

        def result(daemon: Daemon) -> T | str:
            with WireClient(str(daemon.unix_ro if readonly else daemon.unix)) as client:
                try:
                    return exchange(client)
                except Closed:
                    return CLOSED

        return result(self.libvirtd), result(self.remotevirt)

    def call(self, name: str, *fields: Any, readonly: bool = False) -> tuple[Outcome | str, Outcome | str]:
        """What each daemon answers to one call of an opened connection."""
        payload = arguments(name, *fields)
        number = remote.PROGRAM.by_name[name].number

        def exchange(client: WireClient) -> Outcome:
            client.open(flags=1 if readonly else 0)
            return outcome_of(client.call(REMOTE, number, payload))

        return self.each(exchange, readonly=readonly)
