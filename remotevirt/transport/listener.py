"""From the text of ``--listen`` to something that listens, with the mistakes in it said in one line.

Most of Twisted's own endpoint strings are passed through (``tcp:``, ``systemd:``, and those of plug-ins). Two
names are ours: ``unix:``, which has Twisted's options but replaces a dead daemon's socket
(:mod:`~remotevirt.transport.unix`), and ``libvirttls:`` (:mod:`~remotevirt.transport.tls`).
"""

from __future__ import annotations

from typing import Any, Literal

import attrs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint

from remotevirt.description import MAX_PORT, Description, DescriptionError, number
from remotevirt.transport.pki import PKIError
from remotevirt.transport.settings import TLSSettings
from remotevirt.transport.tls import TLS_PREFIX, LibvirtTLSEndpoint, endpoint_from_fields
from remotevirt.transport.unix import BACKLOG, AdoptedUnixEndpoint, UnixEndpoint

__all__ = ["Listener", "Transport", "parse_listener", "show_address"]

Transport = Literal["unix", "tcp", "tls"]
"""What the server calls the ways in, since its limits and rights differ by them."""

UNIX_USAGE = "unix:PATH[:mode=770][:group=NAME][:backlog=N]"
MAX_MODE = 0o777


@attrs.frozen
class Listener:
    """A place to listen.

    Args:
        text: as the user wrote it, for messages.
        endpoint: what listens.
        transport: how clients come in.
        readonly: whether they may only look.
    """

    text: str
    endpoint: IStreamServerEndpoint
    transport: Transport
    readonly: bool = False


def parse_listener(
    reactor: Any,
    text: str,
    *,
    readonly: bool = False,
    mode: int | None = None,
    tls: TLSSettings | None = None,
) -> Listener:
    """Make a listener from an endpoint string.

    Args:
        reactor: what the endpoint shall listen with.
        text: the endpoint string.
        readonly: for the listener.
        mode: permissions of a UNIX socket that names none. 0700 by default, or 0777 if `readonly`: they
            are all that says who may come in.
        tls: how a ``libvirttls:`` endpoint treats clients, where its text says nothing.

    Raises:
        DescriptionError, PKIError: it cannot be made; the text names the endpoint and the reason.
    """
    if mode is None:
        mode = MAX_MODE if readonly else 0o700
    description = Description.parse(text)
    try:
        endpoint = _endpoint(reactor, description, mode, tls)
    except PKIError as error:
        raise PKIError(f"{text}: {error}") from None
    except (ValueError, TypeError, LookupError) as error:
        raise DescriptionError(f"{text}: {error}") from None
    return Listener(text, endpoint, _transport(description, endpoint), readonly)


def show_address(address: IAddress, transport: Transport) -> str:
    """An address as in ``Listening on ...``: ``unix:PATH``, ``tcp:HOST:PORT`` or ``tls:HOST:PORT``."""
    if isinstance(address, UNIXAddress):
        return f"unix:{address.name.decode(errors='replace') if address.name else ''}"
    if isinstance(address, IPv6Address):
        return f"{transport}:[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{transport}:{address.host}:{address.port}"
    return f"{transport}:{address}"


def _endpoint(
    reactor: Any, description: Description, mode: int, tls: TLSSettings | None
) -> IStreamServerEndpoint:
    name = description.name.lower()
    if name == "unix":
        return _unix_endpoint(reactor, description, mode)
    if name == TLS_PREFIX:
        return endpoint_from_fields(reactor, description.words, description.options, tls)
    if name in ("tcp", "tcp6"):
        port = description.options.get("port") or next(iter(description.words), "")
        number("port", port, MAX_PORT)
    endpoint: IStreamServerEndpoint = serverFromString(reactor, description.text)
    if name == "systemd" and _domain(description) == "UNIX":
        return AdoptedUnixEndpoint(reactor, endpoint.fileno)  # type: ignore[attr-defined]
    return endpoint


def _unix_endpoint(reactor: Any, description: Description, mode: int) -> UnixEndpoint:
    options = dict(description.options)
    words = description.words
    if len(words) == 1 and "address" not in options:
        path = words[0]
    elif not words:
        path = options.pop("address", "")
    else:
        path = ""
    options.pop("lockfile", None)  # Twisted's; there is no lock file to have or not to have
    unknown = set(options) - {"mode", "group", "backlog"}
    if not path or unknown:
        raise DescriptionError(f"it is {UNIX_USAGE}")
    if "mode" in options:
        mode = octal(options["mode"])
    return UnixEndpoint(
        reactor,
        path,
        mode,
        number("backlog", options.get("backlog", str(BACKLOG)), 1 << 16),
        options.get("group"),
    )


def _domain(description: Description) -> str:
    """Which kind of socket a ``systemd:`` endpoint adopts."""
    return description.options.get("domain") or next(iter(description.words), "")


def octal(text: str) -> int:
    """Permission bits, as chmod takes them.

    Raises:
        DescriptionError: not octal, or not only permissions.
    """
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= MAX_MODE:
        raise DescriptionError(f"mode: permissions from 0 to 777 are wanted, not {text!r}")
    return mode


def _transport(description: Description, endpoint: IStreamServerEndpoint) -> Transport:
    name = description.name.lower()
    if isinstance(endpoint, LibvirtTLSEndpoint) or name in ("tls", "ssl"):
        return "tls"
    if isinstance(endpoint, UnixEndpoint | AdoptedUnixEndpoint):
        return "unix"
    return "tcp"
