"""Ways in: endpoint descriptions, UNIX sockets that survive a crash, and TLS as libvirt's clients expect it.

Nothing here knows libvirt's messages: each module takes a Twisted factory and hands it connections, so that
``remotevirt.server`` need not know how a client came in.

* :mod:`remotevirt.description` is the grammar of their strings, which drivers share.
* :mod:`~remotevirt.transport.listener`: a description turned into something that listens.
* :mod:`~remotevirt.transport.unix`: UNIX sockets; a dead daemon's is replaced, a live one's never.
* :mod:`~remotevirt.transport.peer`: who is at the other end.
* :mod:`~remotevirt.transport.pki`, :mod:`~remotevirt.transport.tls`: certificates, and libvirt's greeting.
* :mod:`~remotevirt.transport.service`: the Twisted service that starts and stops them all.
* :mod:`~remotevirt.transport.announce`: the lines that say where they are.
"""

from remotevirt.description import Description, DescriptionError
from remotevirt.transport.announce import Announcer
from remotevirt.transport.listener import Listener, parse_listener
from remotevirt.transport.peer import identify
from remotevirt.transport.pki import Credentials, PKIError
from remotevirt.transport.service import ListeningService, StartupError
from remotevirt.transport.tls import LibvirtTLSEndpoint
from remotevirt.transport.unix import UnixEndpoint

__all__ = [
    "Announcer",
    "Credentials",
    "Description",
    "DescriptionError",
    "LibvirtTLSEndpoint",
    "Listener",
    "ListeningService",
    "PKIError",
    "StartupError",
    "UnixEndpoint",
    "identify",
    "parse_listener",
]
