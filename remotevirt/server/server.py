"""A server of the daemon: a set of listeners and their clients that are governed together.

libvirt's notion, and what ``virt-admin`` manages: the daemon has one called ``libvirtd``, which serves the
remote program and its kin, and one called ``admin``. Each has limits of its own, programs of its own, and
numbers its clients from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from remotevirt.identity import Identity
from remotevirt.procedures import Program
from remotevirt.server.limits import Limits

if TYPE_CHECKING:
    from remotevirt.server.daemon import Daemon
    from remotevirt.server.factory import ServerFactory
    from remotevirt.server.protocol import ServerProtocol

__all__ = ["Server"]


class Server:
    """One server.

    Args:
        daemon: what all servers share.
        name: what virt-admin calls it.
        limits: what its clients may take.
        programs: what they may call.
        make_session: makes the session of one client: what answers its calls.
        refusal: says why whoever has connected may not come in at all, None if it may.

    Attributes:
        clients: the clients that are connected, by their numbers.
        factories: its listeners.
    """

    def __init__(
        self,
        daemon: Daemon,
        name: str,
        limits: Limits,
        programs: Iterable[Program],
        make_session: Callable[[ServerProtocol], Any],
        refusal: Callable[[Identity], str | None] | None = None,
    ) -> None:
        self.daemon = daemon
        self.name = name
        self.limits = limits
        self.programs = {(program.number, program.version): program for program in programs}
        self.make_session = make_session
        self.refusal = refusal
        self.clients: dict[int, ServerProtocol] = {}
        self.factories: list[ServerFactory] = []
        self._last = 0

    def number(self) -> int:
        """Return the number of a new client."""
        self._last += 1
        return self._last

    def set_limits(self, limits: Limits) -> None:
        """Put new limits in force, for clients that are connected too; those that are too many stay."""
        self.limits = limits
        for client in tuple(self.clients.values()):
            client.limits_changed()

    @property
    def anonymous(self) -> int:
        """How many clients have not shown yet who they are."""
        return sum(not client.authenticated for client in self.clients.values())
