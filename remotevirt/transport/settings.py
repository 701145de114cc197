"""What an operator may say of a TLS listener: libvirtd.conf's ``tls_`` keys, and the bounds of handshakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from remotevirt.transport.priority import Policy

__all__ = ["HANDSHAKE_TIMEOUT", "MAX_HANDSHAKES", "MAX_PEER_HANDSHAKES", "TLSSettings"]

HANDSHAKE_TIMEOUT = 10.0
"""Seconds from the connection to the end of the handshake, which takes a peer that means it milliseconds.
(libvirtd 9.0.0 waits for as long as the client does.)"""

MAX_HANDSHAKES = 100
"""Handshakes under way at once per listener; the oldest gives way to one more. (libvirtd's name for its like
is max_anonymous_clients, 20 by default.)"""

MAX_PEER_HANDSHAKES = 30
"""Handshakes under way at once per peer: a third, so that one host does not push out all others."""


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name}: more than 0 is wanted, not {value!r}")


@attrs.frozen(kw_only=True)
class TLSSettings:
    """How a listener treats its clients and its own certificate.

    Args:
        no_verify: no certificate is asked of clients, who then have no name (``tls_no_verify_certificate``);
            `allowed_dns` then says nothing.
        allowed_dns: patterns, one of which a client's distinguished name must match
            (``tls_allowed_dn_list``, :mod:`~remotevirt.transport.dn`); an empty list admits nobody, None
            everybody whose certificate is good.
        no_sanity: our own certificate is served without a look at whether clients can accept it
            (``tls_no_sanity_certificate``, :mod:`~remotevirt.transport.sanity`).
        priority: versions and ciphers, in GnuTLS's words (``tls_priority``,
            :mod:`~remotevirt.transport.priority`); None for the default.
        handshake_timeout: seconds for a handshake.
        max_handshakes: handshakes under way at once; the oldest gives way to one more.
        max_peer_handshakes: the same for those of one peer.

    Raises:
        ValueError: a number is not above 0, or the priority string says what cannot be done; one line.
    """

    no_verify: bool = False
    allowed_dns: Sequence[str] | None = None
    no_sanity: bool = False
    priority: str | None = None
    handshake_timeout: float = attrs.field(default=HANDSHAKE_TIMEOUT, validator=_positive)
    max_handshakes: int = attrs.field(default=MAX_HANDSHAKES, validator=_positive)
    max_peer_handshakes: int = attrs.field(default=MAX_PEER_HANDSHAKES, validator=_positive)
    policy: Policy = attrs.field(init=False, repr=False, eq=False)

    @policy.default
    def _policy(self) -> Policy:
        return Policy() if self.priority is None else Policy.parse(self.priority)
