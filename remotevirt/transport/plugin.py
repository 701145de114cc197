"""The ``libvirttls:`` endpoint string as a Twisted plug-in.

Twisted imports every plug-in module whenever any program looks for a plug-in, so this one stays small:
OpenSSL and the rest are imported when an endpoint is really made.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorCore, IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer

__all__ = ["LibvirtTLSParser"]


@implementer(IPlugin, IStreamServerEndpointStringParser)
class LibvirtTLSParser:
    """``libvirttls:PORT:pki=DIR`` and further fields: TLS as libvirt's clients speak it."""

    prefix = "libvirttls"

    def parseStreamServer(self, reactor: IReactorCore, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """Make the endpoint; called by :func:`twisted.internet.endpoints.serverFromString`.

        Raises:
            DescriptionError, PKIError: the arguments or the certificates are no good (both are ValueErrors).
        """
        from remotevirt.transport.tls import endpoint_from_fields  # noqa: PLC0415 - see the module's docstring

        return endpoint_from_fields(reactor, args, kwargs)
