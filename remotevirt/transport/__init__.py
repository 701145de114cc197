"""Ways in: endpoint descriptions, UNIX sockets that survive a crash, and TLS as libvirt's clients expect it.

Nothing here knows libvirt's messages: each module takes a Twisted factory and hands it connections, so that
``remotevirt.server`` need not know how a client came in.

* :mod:`remotevirt.description` is the grammar of their strings, which drivers share.
* :mod:`~remotevirt.transport.listener`: a description turned into something that listens.
* :mod:`~remotevirt.transport.unix`: UNIX sockets; a dead daemon's is replaced, a live one's never.
* :mod:`~remotevirt.transport.peer`: who is at the other end.
* :mod:`~remotevirt.transport.tls`: TLS as an endpoint. Its parts: certificates are read
  (:mod:`~remotevirt.transport.pki`) and checked (:mod:`~remotevirt.transport.sanity`), an operator chooses
  (:mod:`~remotevirt.transport.settings`, :mod:`~remotevirt.transport.priority`), OpenSSL does the work
  (:mod:`~remotevirt.transport.context`, :mod:`~remotevirt.transport.connection`), and clients are greeted
  (:mod:`~remotevirt.transport.greeting`) by their names (:mod:`~remotevirt.transport.dn`) or told from others
  (:mod:`~remotevirt.transport.strangers`).
* :mod:`~remotevirt.transport.service`: the Twisted service that starts and stops them all.
* :mod:`~remotevirt.transport.announce`: the lines that say where they are.
"""

from remotevirt.description import Description, DescriptionError
from remotevirt.transport.announce import Announcer
from remotevirt.transport.dn import gnutls_dn, peer_dn
from remotevirt.transport.listener import Listener, parse_listener
from remotevirt.transport.peer import identify
from remotevirt.transport.pki import Credentials, PKIError
from remotevirt.transport.service import ListeningService, StartupError
from remotevirt.transport.settings import TLSSettings
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
    "TLSSettings",
    "UnixEndpoint",
    "gnutls_dn",
    "identify",
    "parse_listener",
    "peer_dn",
]
