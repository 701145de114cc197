"""A driver that opens connections and can do nothing else, for tests of what lies around drivers."""

from __future__ import annotations

from zope.interface import implementer

from remotevirt.drivers import ClientInfo, DriverConnection, DriverURI, IDriver


@implementer(IDriver)
class QuietDriver:
    """Answers ``test:`` URIs.

    Args:
        fail: a reason to refuse to be made.
    """

    name = "quiet"
    schemes = ("test",)
    default_uri = "test:///default"

    def __init__(self, fail: str = "") -> None:
        if fail:
            raise ValueError(fail)

    def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open a connection of which everything else is unsupported."""
        return DriverConnection(uri.text)
