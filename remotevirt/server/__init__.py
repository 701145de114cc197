"""The daemon side: clients come in by a factory, their calls go through a dispatcher to a driver."""

from remotevirt.server.daemon import Daemon
from remotevirt.server.dispatch import Dispatcher
from remotevirt.server.factory import ServerFactory
from remotevirt.server.limits import Limits
from remotevirt.server.protocol import ServerProtocol
from remotevirt.server.server import Server
from remotevirt.server.trace import Call, Tracer

__all__ = [
    "Call",
    "Daemon",
    "Dispatcher",
    "Limits",
    "Server",
    "ServerFactory",
    "ServerProtocol",
    "Tracer",
]
