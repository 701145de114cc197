"""Values under a key: AES-256-GCM, a random nonce for each value, the secret's UUID as associated data.

::

    sealed value = form (1 byte) | nonce (12 bytes) | ciphertext | tag (16 bytes)

So a value cannot be changed, nor be passed off as that of another secret. The key is 32 bytes:

* systemd's credential ``secrets-encryption-key``, the name that newer libvirt gives it, if the service has
  one; it is read from the folder in ``$CREDENTIALS_DIRECTORY`` and never written;
* else the file of that name beside the store, which only its owner may read. It is made with the first
  store, on the disk before the first value is, and then never again: a key that is lost is not replaced
  behind the operator's back, because what the new one encrypts would be lost in turn when the old one
  comes back.

Without a key secrets are served, but no value can be read or set.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from twisted.logger import Logger

from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidSecret

__all__ = ["KEY_NAME", "Vault"]

KEY_NAME: Final = "secrets-encryption-key"
"""The key's file, and systemd's credential."""

KEY_BYTES: Final = 32
"""AES-256."""

NONCE_BYTES: Final = 12
"""What GCM is made for. Random ones do not repeat in any number of values that one key will see (2^32)."""

FORM: Final = b"\x01"
"""The first byte of a sealed value: how the rest is to be read."""

log = Logger()


class Vault:
    """Seals values and opens them.

    Args:
        key: 32 bytes; None if there is none, and ``reason`` says why.
        reason: for clients, who are not told of paths.
    """

    __slots__ = ("_cipher", "_reason")

    def __init__(self, key: bytes | None, reason: str = "") -> None:
        self._cipher = None if key is None else AESGCM(key)
        self._reason = reason

    @classmethod
    def passing(cls) -> Vault:
        """Return a vault whose key lives as long as the process."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def open(cls, folder: str, *, fresh: bool, environment: Mapping[str, str] = os.environ) -> Vault:
        """Return the vault of a store.

        Args:
            folder: where the store is.
            fresh: no value has been sealed yet, so a key may be made.
            environment: names the folder of systemd's credentials.
        """
        credentials = environment.get("CREDENTIALS_DIRECTORY")
        path = os.path.join(folder, KEY_NAME)
        try:
            if credentials and os.path.lexists(found := os.path.join(credentials, KEY_NAME)):
                path = found
                return cls(_read(path, guarded=False))
            if fresh and not os.path.lexists(path):
                _make(path)
            return cls(_read(path, guarded=True))
        except FileNotFoundError:
            log.critical(
                "{path} is not there, but values of secrets are encrypted with it. Put it back; or, if it is "
                "lost, put {size} random bytes there and set the values anew",
                path=path,
                size=KEY_BYTES,
            )
            return cls(None, "the key that values are encrypted with is missing")
        except OSError as error:
            log.critical("{path} cannot be used as a key: {error}", path=path, error=error.strerror)
            return cls(None, "the key that values are encrypted with cannot be used")

    def seal(self, uuid: bytes, value: bytes) -> bytes:
        """Return a value, encrypted.

        Args:
            uuid: of the secret that it belongs to.
            value: of any length.

        Raises:
            InvalidSecret: there is no key.
        """
        cipher = self._ready(uuid)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return FORM + nonce + cipher.encrypt(nonce, value, uuid)

    def unseal(self, uuid: bytes, sealed: bytes) -> bytes:
        """Return the value that was sealed for a secret.

        Raises:
            InvalidSecret: it was not, or with another key; or there is no key.
        """
        cipher = self._ready(uuid)
        if sealed[:1] != FORM:
            raise _refused(uuid, "it is in a form that is not known here")
        start = len(FORM) + NONCE_BYTES
        try:
            return cipher.decrypt(sealed[len(FORM) : start], sealed[start:], uuid)
        except (InvalidTag, ValueError):
            raise _refused(uuid, "it was encrypted with another key, or has been changed since") from None

    def _ready(self, uuid: bytes) -> AESGCM:
        if self._cipher is None:
            raise _refused(uuid, self._reason)
        return self._cipher


def _refused(uuid: bytes, reason: str) -> InvalidSecret:
    text = f"the value of secret '{UUID(bytes=uuid)}' is out of reach: {reason}"
    return InvalidSecret(text, domain=c.VIR_FROM_SECRET)


def _read(path: str, *, guarded: bool) -> bytes:
    """Return the key in a file.

    Args:
        path: the file.
        guarded: it must be a plain file that only its owner can read; systemd sees to its credentials.

    Raises:
        OSError: it cannot be read, or is no key.
    """
    follow = os.O_NOFOLLOW if guarded else 0
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | follow)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        if guarded and mode & 0o077:
            raise OSError(errno.EPERM, f"others may read it (its mode is {mode & 0o777:o}, not 600)")
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise OSError(errno.EINVAL, f"a key has {KEY_BYTES} bytes")
    return key


def _make(path: str) -> None:
    """Make a key: the file is there and on the disk as a whole, or not at all.

    Raises:
        OSError: it cannot be written.
    """
    draft = f"{path}.draft"
    with suppress(FileNotFoundError):
        os.unlink(draft)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(descriptor)
    os.rename(draft, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
