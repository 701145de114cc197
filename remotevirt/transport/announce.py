"""Telling whoever started the daemon where it is: each address, and the virsh command that reaches it.

In the foreground the lines go to standard output as they are, so that one can be copied; the log that
``twistd`` writes there as well would put a time before each. In the background, or with a log file, they go
to the log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from remotevirt.transport.listener import Listener, Transport, show_address
from remotevirt.transport.tls import LibvirtTLSEndpoint

__all__ = ["Announcer", "virsh_command"]

DEFAULT_PORTS = {"tcp": 16509, "tls": 16514}
"""What virsh assumes where a URI names no port."""

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "localhost"}
"""Where a client on this machine finds a daemon that listens on every address."""

log = Logger()


class Announcer:
    """Says where a daemon listens.

    Args:
        uri: what a client opens by default, for instance ``test:///default``.
        write: takes each line.
    """

    def __init__(self, uri: str, write: Callable[[str], object]) -> None:
        self.uri = uri
        self.write = write

    @classmethod
    def below_twistd(cls, uri: str, twistd: Mapping[str, Any] | None) -> Announcer:
        """One that writes where the options of ``twistd`` make it read; to the log without them."""
        if twistd is None:
            return cls(uri, _log)
        foreground = bool(twistd.get("nodaemon", True))
        own_log = twistd.get("logfile") not in (None, "-") or twistd.get("syslog") or twistd.get("logger")

        def write(line: str) -> None:
            if own_log or not foreground:
                _log(line)
            if foreground:
                _print(line, sys.__stdout__)

        return cls(uri, write)

    def opened(self, listener: Listener, address: IAddress) -> None:
        """A listener is open at `address`."""
        note = " (read-only)" if listener.readonly else ""
        self.write(f"Listening on {show_address(address, listener.transport)}{note}")
        endpoint = listener.endpoint
        host = endpoint.credentials.host if isinstance(endpoint, LibvirtTLSEndpoint) else None
        command = virsh_command(self.uri, address, listener.transport, readonly=listener.readonly, host=host)
        if command is not None:
            self.write(f"    {command}")

    def opened_admin(self, listener: Listener, address: IAddress) -> None:
        """A listener for virt-admin is open at `address`."""
        self.write(f"Listening on {show_address(address, listener.transport)} (administration)")
        if isinstance(address, UNIXAddress) and address.name:
            path = quote(os.path.abspath(os.fsdecode(address.name)))
            self.write(f"    virt-admin -c 'libvirtd:///system?socket={path}'")

    def opened_page(self, listener: Listener, address: IAddress) -> None:
        """A listener that serves pages is open at `address`."""
        where = show_address(address, listener.transport)
        if not isinstance(address, UNIXAddress):
            where = f"http://{where.partition(':')[2]}/"
        self.write(f"Status and metrics on {where}")


def virsh_command(
    uri: str,
    address: IAddress,
    transport: Transport,
    *,
    readonly: bool = False,
    host: str | None = None,
) -> str | None:
    """The command that reaches a listener, to paste into a shell.

    Args:
        uri: what to open there, without transport and host.
        address: where it listens.
        transport: how.
        readonly: whether clients may only look there.
        host: the name to call it by, where its address will not do.

    Returns:
        None where virsh could not say the address.
    """
    parts = urlsplit(uri)
    if isinstance(address, UNIXAddress):
        if not address.name:
            return None
        authority = ""
        query = f"?socket={quote(os.path.abspath(address.name))}"
    elif isinstance(address, IPv4Address | IPv6Address):
        name = host or ANY_ADDRESS.get(address.host, address.host)
        authority = f"[{name}]" if ":" in name else name
        if address.port != DEFAULT_PORTS[transport]:
            authority += f":{address.port}"
        query = ""
    else:
        return None
    flag = "-r " if readonly else ""
    return f"virsh {flag}-c '{parts.scheme}+{transport}://{authority}{parts.path or '/'}{query}'"


def _log(line: str) -> None:
    log.info("{line}", line=line)


def _print(line: str, stream: TextIO | None) -> None:
    if stream is not None:
        stream.write(f"{line}\n")
        stream.flush()
