"""What the QEMU driver's families of calls share: finding a guest, and waiting for one's turn."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred

from remotevirt.drivers.domains.calls import DomainCalls
from remotevirt.drivers.faults import no_domain, not_running
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.drivers.regardless import regardless
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["Client", "QemuCalls", "to_the_end"]

S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")


def to_the_end(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Make a call go on, its turn held, when its client does not wait any more.

    QEMU does what it was told all the same: what follows from that must reach the definitions.
    """

    @wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await regardless(Deferred.fromCoroutine(method(self, *args, **kwargs)))

    return call


class Client(Protocol):
    """What calls know of the connection that they come from."""

    def at_close(self, action: Callable[[], Any]) -> Callable[[], None]:
        """Have something done when the client goes; return what makes that undone."""


class QemuCalls(DomainCalls):
    """The base of the families.

    Attributes:
        world: what the calls work on.
        client: the connection that they come from.
    """

    world: QemuWorld
    client: Client

    def record(self, dom: NonnullDomain) -> QemuRecord:
        """Return the domain that a reference means; raises NoDomain."""
        return cast(QemuRecord, super().record(dom))

    def guest(self, record: QemuRecord) -> Guest:
        """Return the QEMU of a domain.

        Raises:
            OperationInvalid: it does not run.
        """
        if record.guest is None or not record.active:
            raise not_running(c.VIR_FROM_DOMAIN)
        return record.guest

    def still(self, record: QemuRecord) -> None:
        """Raise NoDomain if a domain went away while a call waited."""
        if self.world.by_uuid.get(record.uuid) is not record:
            raise no_domain(record.ref, self.world.ERRORS)

    def turn(self, record: QemuRecord, name: str) -> AbstractAsyncContextManager[None]:
        """Wait for the turn to change a domain, and hold it during the block.

        Args:
            record: the domain.
            name: the procedure in libvirt's words (``remoteDispatchDomainSuspend``).
        """
        world = self.world
        return record.job.turn(name, world.reactor, world.settings.job_timeout)
