r"""Distinguished names as GnuTLS writes them, since that is how operators of libvirt know their clients.

``C=GB,ST=London,O=Example,CN=client``: the parts of a certificate's subject in the order that the certificate
has them (RFC 4514 has them the other way round), ``,`` between them and ``+`` between those that belong
together. What is special is escaped with a backslash. What is not text, or of a kind that the attribute does
not have, is written as ``#`` and the hexadecimal digits of its DER encoding.

This is what ``virt-pki-query-dn clientcert.pem`` prints, what libvirt's ``tls_allowed_dn_list`` is compared
with, and what :attr:`remotevirt.identity.Identity.dn` holds. The tests compare it with GnuTLS itself.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import Any

from cryptography import x509

__all__ = ["compile_patterns", "gnutls_dn", "peer_dn"]

UTF8, NUMERIC, PRINTABLE, TELETEX, IA5, UNIVERSAL, BMP = 0x0C, 0x12, 0x13, 0x14, 0x16, 0x1C, 0x1E
"""ASN.1's tags of the kinds of text."""

VERSION, SUBJECT = 0xA0, 4
"""Of a certificate's fields: the tag of one that may be missing, and the place of the subject without it."""

DIRECTORY = frozenset((UTF8, PRINTABLE, TELETEX, UNIVERSAL, BMP))
"""The kinds that an attribute of type DirectoryString may be of (RFC 5280)."""

ATTRIBUTES: dict[str, tuple[str, frozenset[int]]] = {
    "2.5.4.3": ("CN", DIRECTORY),
    "2.5.4.4": ("surName", DIRECTORY),
    "2.5.4.5": ("serialNumber", frozenset((PRINTABLE,))),
    "2.5.4.6": ("C", frozenset((PRINTABLE,))),
    "2.5.4.7": ("L", DIRECTORY),
    "2.5.4.8": ("ST", DIRECTORY),
    "2.5.4.9": ("street", DIRECTORY),
    "2.5.4.10": ("O", DIRECTORY),
    "2.5.4.11": ("OU", DIRECTORY),
    "2.5.4.12": ("title", DIRECTORY),
    "2.5.4.13": ("description", DIRECTORY),
    "2.5.4.15": ("businessCategory", DIRECTORY),
    "2.5.4.17": ("postalCode", DIRECTORY),
    "2.5.4.20": ("telephoneNumber", frozenset((PRINTABLE,))),
    "2.5.4.41": ("name", DIRECTORY),
    "2.5.4.42": ("givenName", DIRECTORY),
    "2.5.4.43": ("initials", DIRECTORY),
    "2.5.4.44": ("generationQualifier", DIRECTORY),
    "2.5.4.46": ("dnQualifier", frozenset((PRINTABLE,))),
    "2.5.4.65": ("pseudonym", DIRECTORY),
    "0.9.2342.19200300.100.1.1": ("UID", DIRECTORY),
    "0.9.2342.19200300.100.1.25": ("DC", frozenset((IA5,))),
    "1.2.840.113549.1.9.1": ("EMAIL", frozenset((IA5,))),
    "1.2.840.113556.1.4.656": ("userPrincipalName", DIRECTORY),
    "1.2.643.3.131.1.1": ("INN", frozenset((NUMERIC,))),
    "1.2.643.100.1": ("OGRN", frozenset((NUMERIC,))),
    "1.2.643.100.3": ("SNILS", frozenset((NUMERIC,))),
    "1.2.643.100.5": ("OGRNIP", frozenset((NUMERIC,))),
    "1.3.6.1.4.1.311.60.2.1.1": ("jurisdictionOfIncorporationLocalityName", DIRECTORY),
    "1.3.6.1.4.1.311.60.2.1.2": ("jurisdictionOfIncorporationStateOrProvinceName", DIRECTORY),
    "1.3.6.1.4.1.311.60.2.1.3": ("jurisdictionOfIncorporationCountryName", frozenset((PRINTABLE,))),
    "1.3.6.1.5.5.7.8.5": ("XmppAddr", frozenset((UTF8,))),
    "1.3.6.1.5.5.7.9.2": ("placeOfBirth", DIRECTORY),
    "1.3.6.1.5.5.7.9.3": ("gender", frozenset((PRINTABLE,))),
    "1.3.6.1.5.5.7.9.4": ("countryOfCitizenship", frozenset((PRINTABLE,))),
    "1.3.6.1.5.5.7.9.5": ("countryOfResidence", frozenset((PRINTABLE,))),
}
"""Object identifiers, the names that GnuTLS 3.7 has for them, and the kinds of text that it reads there."""

SPECIAL = re.compile(r'[,+"\\<>;]|^[# ]|(?<=.) \Z', re.DOTALL)
"""What is escaped: some characters anywhere, a first ``#`` or space, a last space."""


def gnutls_dn(certificate: x509.Certificate) -> str:
    """The subject of a certificate, as ``gnutls_x509_crt_get_dn`` of GnuTLS 3.7 writes it.

    Raises:
        ValueError: it is empty, or has an empty part, or does not decode. For the first two GnuTLS has no
        name
            either; of the third it hands on the bytes.
    """
    # The kind of a text decides how it is written, and only the encoding still has that.
    ((_, _, body),) = _elements(certificate.tbs_certificate_bytes)
    fields = _elements(body)
    if fields[0][0] == VERSION:
        del fields[0]
    subject = fields[SUBJECT][2]
    names = ["+".join(_attribute(part) for _, part, _ in _elements(rdn)) for _, _, rdn in _elements(subject)]
    if not names:
        raise ValueError("the subject is empty")
    return ",".join(names)


def peer_dn(transport: Any) -> str | None:
    """The distinguished name of the client behind a transport.

    Args:
        transport: a protocol's, of whatever kind.

    Returns:
        The name in its certificate, which :mod:`~remotevirt.transport.tls` has verified; None where there was
        no TLS, or no certificate was asked for.
    """
    get = getattr(transport, "getPeerCertificate", None)
    if get is None or transport.getHandle() is None:
        return None
    certificate = get()
    return None if certificate is None else gnutls_dn(certificate.to_cryptography())


def compile_patterns(patterns: Sequence[str]) -> Callable[[str], bool]:
    """What tells whether a name matches one of `patterns`; with none, no name does.

    A pattern is GLib's, as in ``tls_allowed_dn_list``: ``*`` stands for any characters, ``,`` and ``/`` among
    them, and ``?`` for one. Everything else stands for itself.
    """
    # fnmatch's own third sign, [, is none of GLib's.
    whole = [re.compile(fnmatch.translate(pattern.replace("[", "[[]"))) for pattern in patterns]
    return lambda name: any(pattern.match(name) for pattern in whole)


def _attribute(part: bytes) -> str:
    """``CN=client``, of an AttributeTypeAndValue's encoding."""
    ((_, _, content),) = _elements(part)
    (_, _, oid), (tag, value, raw) = _elements(content)
    kind = _dotted(oid)
    name, allowed = ATTRIBUTES.get(kind, (kind, frozenset[int]()))
    if allowed is DIRECTORY and not raw:
        raise ValueError(f"the subject has an empty {name}")
    text = _text(tag, raw) if raw and tag in allowed else None
    if text is None or "\0" in text:
        return f"{name}=#{value.hex()}"
    return f"{name}={SPECIAL.sub(lambda found: chr(92) + found[0], text)}"


def _text(tag: int, raw: bytes) -> str:
    """The text of a value, by GnuTLS's lights."""
    if tag == UNIVERSAL or (tag == TELETEX and not all(0x20 <= byte <= 0x7E for byte in raw)):
        return f"#{raw.hex()}"  # of what it cannot convert GnuTLS makes a text like this one
    if tag == BMP:
        return raw.decode("utf-16-be").removesuffix("\0")
    return raw.decode()


def _elements(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Cut DER into its elements: the tag, the whole of it, and its content.

    Raises:
        ValueError: it is none, which ``cryptography`` would have said before.
    """
    found = []
    pos = 0
    while pos < len(data):
        start = pos
        tag, length = data[pos : pos + 2]
        pos += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[pos : pos + size], "big")
            pos += size
        if pos + length > len(data):
            raise ValueError("the subject does not decode")
        found.append((tag, data[start : pos + length], data[pos : pos + length]))
        pos += length
    return found


def _dotted(oid: bytes) -> str:
    """An object identifier's content in dots and digits."""
    arcs = []
    arc = 0
    for byte in oid:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
