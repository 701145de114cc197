"""A daemon with an admin server, clients of it without sockets, and settings of a log that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.python.threadpool import ThreadPool

from remotevirt.admin import Controls, admin_server
from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.rpc.message import Message
from remotevirt.server import Limits, ServerFactory, Tracer
from remotevirt.stubs import admin
from tests.server.fakes import Client, World

__all__ = ["ADMIN", "LIBVIRTD", "NOBODY", "ROOT", "AdminClient", "AdminWorld", "FakeLogs", "uint"]

LIBVIRTD = admin.NonnullServer("libvirtd")
ADMIN = admin.NonnullServer("admin")
NOBODY = admin.NonnullServer("nobody")
"""A server that is not there."""

ROOT = Identity(uid=0, gid=0, pid=4711)


def uint(name: str, value: int) -> admin.TypedParam:
    """A parameter of the type that limits have."""
    return admin.TypedParam(name, admin.TypedParamValue(admin.VIR_TYPED_PARAM_UINT, value))


class FakeLogs:
    """Settings that are kept, unless they say "bad"."""

    def __init__(self) -> None:
        self.filters = ""
        self.outputs = "3:stderr"

    def get_filters(self) -> str:
        """Return them."""
        return self.filters

    def set_filters(self, text: str) -> None:
        """Keep them."""
        if "bad" in text:
            raise ValueError(f"Malformed format for filter '{text}'")
        self.filters = text

    def get_outputs(self) -> str:
        """Return them."""
        return self.outputs

    def set_outputs(self, text: str) -> None:
        """Keep them; the default ones are on standard error."""
        if "bad" in text:
            raise ValueError(f"Malformed format for log output '{text}'")
        self.outputs = text or "3:stderr"


class AdminWorld(World):
    """A daemon with an admin server, whose reactor has a pool of threads that is not started.

    Attributes:
        identity: who the next client of the admin server is.
    """

    def __init__(
        self,
        controls: Controls | None = None,
        admin_limits: Limits | None = None,
        tracers: Sequence[Tracer] = (),
        **limits: Any,
    ) -> None:
        super().__init__(tracers, **limits)
        self.pool = ThreadPool(0, 10)
        self.daemon.reactor.getThreadPool = lambda: self.pool
        self.identity = ROOT
        self.server = admin_server(self.daemon, controls, admin_limits)
        self.listener = ServerFactory(self.server, identify=lambda transport, kind: self.identity)

    def admin(self) -> AdminClient:
        """A client of the admin server that has connected."""
        return AdminClient(self)


class AdminClient(Client):
    """A client of the admin server: its calls are the admin program's."""

    def listener(self, world: AdminWorld, *_: Any) -> ServerFactory:
        """The admin server's."""
        return world.listener

    def call(self, name: str, *fields: Any) -> Any:
        """Call and return the result."""
        return self.result(name, *fields, program=admin.PROGRAM)

    def refused(self, name: str, *fields: Any) -> VirError:
        """Call and return the error."""
        return self.error(name, *fields, program=admin.PROGRAM)

    def reply(self, name: str, *fields: Any) -> Message:
        """Call and return the reply as it is."""
        return self.ask(name, *fields, program=admin.PROGRAM)

    def params(self, name: str, *fields: Any) -> dict[str, Any]:
        """Call and return the parameters, in their order: name -> value."""
        return {param.field: param.value.value for param in self.call(name, *fields)}
