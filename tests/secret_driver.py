"""A driver of secrets and nothing else, for tests with real clients."""

from __future__ import annotations

from zope.interface import implementer

from remotevirt.drivers import ClientInfo, DriverConnection, DriverURI, EventHub, IDriver
from remotevirt.drivers.secret import RealSecrets


@implementer(IDriver)
class SecretsOnly:
    """Answers ``secret:`` URIs.

    Args:
        state: the folder for what lasts.
    """

    name = "secret"
    schemes = ("secret",)
    default_uri = "secret:///system"

    def __init__(self, state: str) -> None:
        self.hub = EventHub()
        self.secrets = RealSecrets.open(state, self.hub)

    def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open a connection to the secrets."""
        return DriverConnection(uri.text, secret=self.secrets, events=self.hub)
