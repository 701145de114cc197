"""The users file: who may log in, and the SCRAM keys of their passwords, never the passwords.

::

    # comment
    :MTIzNDU2Nzg5MDEyMzQ1Ng==                                    secret for salts of unknown users
    alice:SCRAM-SHA-256$65536$salt$stored$server:SCRAM-SHA-512$...
    └name └mechanism    └iterations └in base 64  └the next mechanism

One user a line, UTF-8, nobody's business but its owner's: a file that others may read or change is refused.
It is written anew beside the old one and moved over it, so that a reader sees the one or the other.

The daemon looks at it again for each login. When it has changed it is read; when the new one does not make
sense, the old users stay and the log says why.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
from twisted.logger import Logger

from remotevirt.auth.interfaces import AuthRefused, ScramKeys
from remotevirt.auth.scram import ITERATIONS, ITERATIONS_MINIMUM, SCRAM
from remotevirt.auth.text import prepare_name
from remotevirt.errors import RemotevirtError

__all__ = ["Users", "UsersError", "UsersFile", "parse_users", "read_users", "updating_users"]

FILE_MAXIMUM = 64 * 1024 * 1024
"""Bytes of a users file; 150,000 users."""

SECRET_SIZE = 32
"""Bytes of the secret."""

SALT_MINIMUM = 12
"""Bytes of a salt, at least; scramp's bound."""

ITERATIONS_MAXIMUM = 10_000_000
"""Scramp's bound."""

HEADER = "# Users of remotevirt, and keys made of their passwords. Change it with remotevirt-passwd.\n"

_DIGEST_SIZE = {"SCRAM-SHA-512": 64, "SCRAM-SHA-256": 32, "SCRAM-SHA-1": 20}


class UsersError(RemotevirtError):
    """A users file cannot be read or written, or makes no sense; the text is one line that says where."""


Keys = Mapping[str, ScramKeys]
"""The keys of one user, by mechanism."""


@attrs.frozen
class Users:
    """What a file holds.

    Attributes:
        users: keys by name.
        secret: what the salts of unknown users are made from.
    """

    users: Mapping[str, Keys] = attrs.field(factory=dict)
    secret: bytes = attrs.field(factory=lambda: os.urandom(SECRET_SIZE), repr=False)

    def iterations(self) -> Mapping[str, int]:
        """How often passwords are hashed for each mechanism; where it differs, for most users."""
        counts: dict[str, Counter[int]] = {mechanism.name: Counter() for mechanism in SCRAM}
        for keys in self.users.values():
            for name, key in keys.items():
                counts[name][key.iterations] += 1
        return {name: max(count, key=count.__getitem__, default=ITERATIONS) for name, count in counts.items()}

    def format(self) -> str:
        """The text of the file."""
        lines = [HEADER, f":{_encode(self.secret)}\n"]
        for name in sorted(self.users):
            parts = [name]
            for key in self.users[name].values():
                data = "$".join(_encode(value) for value in (key.salt, key.stored_key, key.server_key))
                parts.append(f"{key.mechanism}${key.iterations}${data}")
            lines.append(":".join(parts) + "\n")
        return "".join(lines)


def check_name(name: str) -> str:
    """Return a name as the file holds it.

    Raises:
        UsersError: it is none, or none that fits into the file.
    """
    try:
        prepared = prepare_name(name)
    except AuthRefused as error:
        raise UsersError(str(error)) from None
    if ":" in prepared or prepared.startswith("#") or prepared != prepared.strip():
        raise UsersError(f"{prepared!r}: a name has no colon, no # at its beginning and no blank at its ends")
    return prepared


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UsersError("a value that is not base 64") from None


def _parse_keys(text: str) -> ScramKeys:
    parts = text.split("$")
    if len(parts) != 5:
        raise UsersError("keys are MECHANISM$ITERATIONS$SALT$STORED$SERVER")
    mechanism, count = parts[:2]
    size = _DIGEST_SIZE.get(mechanism)
    if size is None:
        raise UsersError(f"unknown mechanism {mechanism[:64]!r}")
    if not count.isascii() or not count.isdecimal() or len(count) > len(str(ITERATIONS_MAXIMUM)):
        raise UsersError("iterations that are no number")
    if not ITERATIONS_MINIMUM <= int(count) <= ITERATIONS_MAXIMUM:
        raise UsersError(f"{count} iterations, where {ITERATIONS_MINIMUM} are the least")
    salt, stored, server = map(_decode, parts[2:])
    if len(salt) < SALT_MINIMUM or len(stored) != size or len(server) != size:
        raise UsersError(f"keys of a wrong size for {mechanism}")
    return ScramKeys(mechanism, int(count), salt, stored, server)


def parse_users(text: str, name: str = "<users>") -> Users:
    """Read the text of a file.

    Raises:
        UsersError: it does not make sense.
    """
    users: dict[str, Keys] = {}
    secret: bytes | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        try:
            user, *rest = line.split(":")
            if user == "":
                if secret is not None or len(rest) != 1:
                    raise UsersError("a second secret" if secret is not None else "a secret is one value")
                secret = _decode(rest[0])
                continue
            if check_name(user) != user:
                raise UsersError(f"{user!r} is not prepared with SASLprep")
            if user in users:
                raise UsersError(f"a second {user!r}")
            keys = [_parse_keys(part) for part in rest]
            users[user] = {key.mechanism: key for key in keys}
            if not keys or len(users[user]) != len(keys):
                raise UsersError("a user has keys, one for each mechanism")
        except UsersError as error:
            raise UsersError(f"{name}:{number}: {error}") from None
    return Users(users) if secret is None else Users(users, secret)


_Stamp = tuple[int, int, int, int]


def _read(path: Path) -> tuple[Users, _Stamp]:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsersError(f"{path}: not a file")
            if status.st_mode & (stat.S_IWGRP | stat.S_IRWXO):
                mode = stat.S_IMODE(status.st_mode)
                raise UsersError(f"{path}: others may read or change it (mode {mode:04o}); chmod 600")
            data = file.read(FILE_MAXIMUM + 1)
    except OSError as error:
        raise UsersError(f"{path}: {error.strerror}") from error
    if len(data) > FILE_MAXIMUM:
        raise UsersError(f"{path}: larger than {FILE_MAXIMUM} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsersError(f"{path}: not UTF-8 text") from None
    return parse_users(text, str(path)), _stamp(status)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def read_users(path: Path) -> Users:
    """Read a file.

    Raises:
        UsersError: it cannot be read, others may read it, or it does not make sense.
    """
    return _read(path)[0]


@contextlib.contextmanager
def updating_users(path: Path) -> Iterator[dict[str, Keys]]:
    """Change a file, or make it: yields its users, and writes them when the block ends well.

    Whoever else is about to change a file of the same folder waits.

    Raises:
        UsersError: it cannot be read or written, or does not make sense.
    """
    real = path.resolve()  # a link stays one
    try:
        folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UsersError(f"{path.parent}: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        old = read_users(path) if path.exists() else Users()
        users = dict(old.users)
        yield users
        try:
            _replace(real, Users(users, old.secret).format(), folder)
        except OSError as error:
            raise UsersError(f"{path}: {error.strerror}") from None
    finally:
        os.close(folder)


def _replace(path: Path, text: str, folder: int) -> None:
    """Put a new file in the place of the old one, with its owner; on disk when this returns."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            if path.exists():
                status = path.stat()
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, status.st_uid, status.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    os.fsync(folder)


class UsersFile:
    """A users file as a running daemon sees it.

    Args:
        path: the file.

    Raises:
        UsersError: it cannot be used.
    """

    log = Logger()

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._seen: _Stamp | None = None
        self.reload()

    def reload(self) -> None:
        """Read it.

        Raises:
            UsersError: it cannot be used; the users are the old ones.
        """
        users, self._seen = _read(self.path)
        self._users = users
        self._iterations = users.iterations()

    def current(self) -> Users:
        """Return the users, read anew if the file has changed."""
        try:
            stamp: _Stamp | None = _stamp(os.stat(self.path))
        except OSError:
            stamp = None
        if stamp != self._seen:
            try:
                self.reload()
            except UsersError as error:
                self._seen = stamp  # said once
                self.log.error("the users file has changed and is not used: {error}", error=error)
        return self._users

    def iterations(self, mechanism: str) -> int:
        """Return how often most users' passwords are hashed for a mechanism."""
        return self._iterations[mechanism]
