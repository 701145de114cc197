"""Whether a listener's own certificate can serve: what libvirtd checks when it starts.

A mistake in a certificate otherwise shows as a handshake that fails for every client, with a reason that only
one side sees. Checked are, as by libvirtd unless ``tls_no_sanity_certificate`` is set:

* dates, of our certificate, the authorities' and the revocation lists';
* basic constraints: an authority's certificate says that it is one, ours does not;
* key usage: ours signs, an authority's signs certificates;
* purpose: ours is for servers;
* that ours was issued by an authority of ours: with another a client of the same folder cannot verify it.

As by libvirtd, a usage or purpose that is not marked critical is advice: it makes a line in the log.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.logger import Logger

from remotevirt.transport.pki import Credentials, PKIError

__all__ = ["UNREADABLE", "check_sanity", "is_authority"]

UNREADABLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What ``cryptography`` raises for certificates that others let pass."""

Kind = TypeVar("Kind", bound=x509.ExtensionType)

log = Logger()


def check_sanity(credentials: Credentials, *, now: datetime.datetime | None = None) -> None:
    """Check what a listener shall serve with.

    Args:
        credentials: its certificates.
        now: the time to hold validity against; the clock's by default.

    Raises:
        PKIError: clients could not accept it, or could not be verified; one line that names the file.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    files = credentials.files
    mine = credentials.chain[0]
    try:
        _check_dates(files.cert, "the certificate", mine, now)
        if is_authority(mine):
            raise PKIError(f"{files.cert}: the certificate is an authority's, not a server's")
        _weigh(files.cert, _server_flaws(mine))
        for authority in credentials.authorities:
            name = f"the certificate of {authority.subject.rfc4514_string()!a}"
            _check_dates(files.ca, name, authority, now)
            if not is_authority(authority):
                raise PKIError(f"{files.ca}: {name} is not an authority's (basic constraints)")
            _weigh(files.ca, _authority_flaws(name, authority))
    except PKIError:
        raise
    except UNREADABLE as error:
        why = " ".join(str(error).split())
        raise PKIError(f"{files.cert}, {files.ca}: a certificate does not decode: {why}") from None
    if not _leads_to(mine, credentials.chain[1:], credentials.authorities):
        raise PKIError(f"{files.cert}: the certificate was not issued by the authority in {files.ca}")
    for revoked in credentials.revoked:
        _check_list(files.crl, revoked, now)
    _warn_of_missing_lists(credentials)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that its holder may issue others."""
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.value.ca


def _extension(certificate: x509.Certificate, kind: type[Kind]) -> x509.Extension[Kind] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _server_flaws(certificate: x509.Certificate) -> Iterator[tuple[bool, str]]:
    """What speaks against a certificate as a server's: whether it is critical, and what it is."""
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None:
        if not usage.value.digital_signature:
            yield usage.critical, "the certificate's key usage does not permit digital signatures"
        if not usage.value.key_encipherment:
            # Nothing here needs it, but clients up to libvirt 10.0 insist.
            yield False, "the certificate's key usage does not permit key encipherment; old clients refuse it"
    purpose = _extension(certificate, x509.ExtendedKeyUsage)
    wanted = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purpose is not None and not wanted & set(purpose.value):
        yield purpose.critical, "the certificate's purpose is not that of a TLS server"


def _authority_flaws(name: str, certificate: x509.Certificate) -> Iterator[tuple[bool, str]]:
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.value.key_cert_sign:
        yield usage.critical, f"the key usage of {name} does not permit signing certificates"


def _weigh(path: Path, flaws: Iterator[tuple[bool, str]]) -> None:
    for critical, text in flaws:
        if critical:
            raise PKIError(f"{path}: {text}")
        log.warn("{path}: {text}", path=str(path), text=text)


def _check_dates(path: Path, name: str, certificate: x509.Certificate, now: datetime.datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise PKIError(f"{path}: {name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        raise PKIError(f"{path}: {name} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")


def _check_list(path: Path | None, revoked: x509.CertificateRevocationList, now: datetime.datetime) -> None:
    """OpenSSL refuses every client of an authority whose list is out of date."""
    until = revoked.next_update_utc
    if until is not None and now > until:
        raise PKIError(
            f"{path}: the revocation list expired on {until:%Y-%m-%d}; no client could be verified"
        )


def _warn_of_missing_lists(credentials: Credentials) -> None:
    """Where there are lists, OpenSSL refuses the clients of an authority that has none."""
    listed = {revoked.issuer for revoked in credentials.revoked}
    for authority in credentials.authorities if listed else ():
        if authority.subject not in listed:
            log.warn(
                "{path}: no revocation list of {authority}; its clients will be refused",
                path=str(credentials.files.crl),
                authority=ascii(authority.subject.rfc4514_string()),
            )


def _leads_to(
    certificate: x509.Certificate,
    between: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
) -> bool:
    """Whether one of the authorities issued a certificate, perhaps by way of those in between."""
    others = [*authorities, *between]
    for _ in others:
        issuer = next((other for other in others if _issued(certificate, other)), None)
        if issuer is None or issuer in authorities:
            return issuer is not None
        certificate = issuer
    return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
