"""Certificates for a TLS listener: found and read.

The folder is laid out flat, as libvirt's ``pkipath`` is on the client's side::

    cacert.pem       the authorities that clients' certificates must come from (one or several)
    servercert.pem   our certificate, with intermediate ones after it if there are any
    serverkey.pem    its private key, without a passphrase
    cacrl.pem        optional: certificates that the authorities have withdrawn (one or several lists)

What is wrong with a file is said in one line that names it. Whether clients can accept what was read is for
:mod:`~remotevirt.transport.sanity` to say; :mod:`~remotevirt.transport.context` makes it into what OpenSSL
works with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from remotevirt.errors import RemotevirtError

__all__ = ["Credentials", "PKIError", "PKIFiles"]

CA_FILE = "cacert.pem"
CERT_FILE = "servercert.pem"
KEY_FILE = "serverkey.pem"
CRL_FILE = "cacrl.pem"

MAX_FILE = 4 << 20
"""Bytes read of any one file: a revocation list with tens of thousands of entries is 1-2 MiB."""

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\s*", re.DOTALL)


class PKIError(RemotevirtError, ValueError):
    """Certificates that cannot be served from; its text is one line that names the file."""


@attrs.frozen
class PKIFiles:
    """Where certificates are.

    Args:
        ca: the authorities.
        cert: our certificate, and intermediate ones.
        key: its private key.
        crl: revocation lists; None for none.
        crl_may_be_missing: whether `crl` is used only if it exists.
    """

    ca: Path
    cert: Path
    key: Path
    crl: Path | None = None
    crl_may_be_missing: bool = False

    @classmethod
    def in_folder(cls, folder: str | Path) -> PKIFiles:
        """Those of a folder laid out flat.

        Raises:
            PKIError: there is no such folder.
        """
        base = Path(folder)
        if not base.is_dir():
            raise PKIError(f"{base}: no such folder of certificates")
        return cls(base / CA_FILE, base / CERT_FILE, base / KEY_FILE, base / CRL_FILE, True)


@attrs.frozen
class Credentials:
    """What a TLS listener needs, as it was read.

    Args:
        authorities: whose certificates clients must show.
        chain: our certificate, then intermediate ones.
        key: the private key of the first of `chain`.
        revoked: revocation lists; empty for none.
        files: where they are from.
    """

    authorities: Sequence[x509.Certificate]
    chain: Sequence[x509.Certificate]
    key: PrivateKeyTypes = attrs.field(repr=False)
    revoked: Sequence[x509.CertificateRevocationList]
    files: PKIFiles

    @classmethod
    def load(cls, folder: str | Path) -> Credentials:
        """Read a folder laid out flat; ``cacrl.pem`` may be absent.

        Raises:
            PKIError: a file is missing, unreadable or not what it should be, or the key is another one's.
        """
        return cls.read(PKIFiles.in_folder(folder))

    @classmethod
    def load_files(
        cls, ca_file: Path, cert_file: Path, key_file: Path, crl_file: Path | None = None
    ) -> Credentials:
        """Read the same from files named one by one (libvirtd.conf's ``ca_file``, ``cert_file``, ...).

        Raises:
            PKIError: as for :meth:`load`.
        """
        return cls.read(PKIFiles(ca_file, cert_file, key_file, crl_file))

    @classmethod
    def read(cls, files: PKIFiles) -> Credentials:
        """Read the files, now.

        Raises:
            PKIError: as for :meth:`load`.
        """
        crl = files.crl
        if crl is not None and files.crl_may_be_missing and not crl.exists():
            crl = None
        found = cls(
            _certificates(files.ca),
            _certificates(files.cert),
            _private_key(files.key),
            _revocation_lists(crl) if crl else (),
            files,
        )
        if _public_bytes(found.key.public_key()) != _public_bytes(found.chain[0].public_key()):
            raise PKIError(f"{files.key}: is not the key of the certificate in {files.cert}")
        return found

    @property
    def host(self) -> str | None:
        """The first host name that our certificate is for; clients check that they used one of those."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return None
        return next((name for name in names.get_values_for_type(x509.DNSName) if "*" not in name), None)


def _read(path: Path) -> bytes:
    """The bytes of a file, with an error a user can act on."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise PKIError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise PKIError(f"{path}: larger than {MAX_FILE} bytes")
    return data


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except PKIError:
        raise
    except ValueError:
        raise PKIError(f"{path}: holds no readable PEM certificate") from None


def _private_key(path: Path) -> PrivateKeyTypes:
    data = _read(path)
    try:
        return load_pem_private_key(data, password=None)
    except TypeError:
        raise PKIError(f"{path}: the key is locked with a passphrase, which a daemon cannot type") from None
    except ValueError:
        raise PKIError(f"{path}: holds no readable PEM private key") from None


def _revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    blocks = _CRL.findall(_read(path))
    try:
        found = [x509.load_pem_x509_crl(block) for block in blocks]
    except ValueError:
        found = []
    if not found:
        raise PKIError(f"{path}: holds no readable PEM revocation list")
    return found


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
