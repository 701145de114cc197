"""What is done to the folder of a pool and the files in it; all of it in threads.

Every file is reached from a descriptor of its folder by a name without slashes, and nothing that writes
follows a symbolic link. Reading does: an administrator may link images into a pool, and only somebody who
may write to the folder can.

A new volume is made in a draft, a folder of its own below the pool's, and gets its name when it is complete;
the name must be free then. A draft is locked while somebody works in it, so that what a daemon has left that
died in the middle is known, and goes when the pool starts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from twisted.logger import Logger

from remotevirt.drivers.disk_threads import Stop
from remotevirt.drivers.storage.faults import invalid, system
from remotevirt.drivers.storage.images import HEADER_BYTES, ImageFacts, probe
from remotevirt.drivers.storage.records import Contents
from remotevirt.drivers.tables import MAX_OBJECTS
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.xml.domain.secret import Encryption
from remotevirt.xml.permissions import Permissions
from remotevirt.xml.storage_volume import BackingFile, Timestamps, VolumeModel

__all__ = [
    "DRAFT",
    "FOLDER",
    "READ",
    "Draft",
    "describe",
    "look",
    "open_folder",
    "open_volume",
    "remove_volume",
    "scan",
    "scan_draft",
    "set_permissions",
]

DRAFT: Final = ".remotevirt-draft-"
"""What the names of drafts begin with; they are no volumes."""

DEFAULT_MODE: Final = 0o600
FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
WRITE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

PROBED: Final = ("qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "bochs", "dir")
"""Formats that files show by themselves."""

NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""What systems say whose files can have but one name."""

log = Logger()


@contextmanager
def open_folder(path: str) -> Iterator[int]:
    """Open a pool's folder; raises VirSystemError."""
    try:
        folder = os.open(path, FOLDER)
    except (OSError, ValueError) as error:
        number = error if isinstance(error, OSError) else errno.EINVAL
        raise system(f"cannot open directory '{path}'", number, c.VIR_FROM_NONE) from error
    try:
        yield folder
    finally:
        os.close(folder)


def scan(stop: Stop, path: str) -> Contents:
    """Look into a folder.

    Raises:
        VirError: it cannot be read.
    """
    with open_folder(path) as folder:
        volumes: list[VolumeModel] = []
        for name in sorted(os.listdir(folder)):
            stop.check()
            if not _can_show(name) or name.startswith(DRAFT):
                continue
            if len(volumes) >= MAX_OBJECTS:
                log.warn("{path} holds more than {limit} volumes", path=path, limit=MAX_OBJECTS)
                break
            model = describe(folder, name, path)
            if model is not None:
                volumes.append(model)
        found = os.fstat(folder)
        space = os.fstatvfs(folder)
    capacity, free = space.f_blocks * space.f_frsize, space.f_bfree * space.f_frsize
    return Contents(volumes, capacity, capacity - free, free, _permissions(found))


def _can_show(name: str) -> bool:
    """Return whether a name is text without control characters, as documents can hold it."""
    return not any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in name)


def _permissions(found: os.stat_result) -> Permissions:
    return Permissions(stat.S_IMODE(found.st_mode) & 0o777, found.st_uid, found.st_gid)


def _timestamps(found: os.stat_result) -> Timestamps:
    return Timestamps(found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)


def describe(folder: int, name: str, path: str, kind: str | None = None) -> VolumeModel | None:
    """Return what a file is, or is as one of a format; None if it is no volume, or cannot be read."""
    try:
        if stat.S_IFMT(os.stat(name, dir_fd=folder).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            return None
        file = os.open(name, READ, dir_fd=folder)
    except OSError as error:
        log.debug("{path}/{name} is left out: {error}", path=path, name=name, error=error)
        return None
    try:
        found = os.fstat(file)
        where = f"{path}/{name}"
        model = VolumeModel(name, 0, 0, key=where, path=where, format="dir")
        model.permissions, model.timestamps = _permissions(found), _timestamps(found)
        if stat.S_ISDIR(found.st_mode):
            model.type = "dir"
            return model
        if not stat.S_ISREG(found.st_mode):
            return None
        facts = ImageFacts(kind) if kind else probe(os.pread(file, HEADER_BYTES, 0), found.st_size)
        _fill(model, found, facts)
    except OSError as error:
        log.debug("{path}/{name} is left out: {error}", path=path, name=name, error=error)
        return None
    finally:
        os.close(file)
    if model.backing is not None:
        complete_backing(folder, model.backing, path)
    return model


def _fill(model: VolumeModel, found: os.stat_result, facts: ImageFacts) -> None:
    """Note what a header says, and how long the file is."""
    model.physical, model.allocation = found.st_size, found.st_blocks * 512
    model.capacity = found.st_size if facts.capacity is None else facts.capacity
    model.format = facts.format
    model.compat, model.features = facts.compat, facts.features
    model.cluster_size = facts.cluster_size
    if facts.encryption is not None:
        model.encryption = Encryption(format=facts.encryption)
    if facts.backing is not None:
        model.backing = BackingFile(facts.backing, facts.backing_format, Permissions())


def complete_backing(folder: int, backing: BackingFile, path: str) -> None:
    """Note whose a backing file is and which format it has, if it lies in the same folder.

    Files elsewhere are not looked at: whoever wrote the image chose their names.
    """
    name = backing.path.removeprefix(f"{path}/")
    if "/" in name or ":" in name or not _can_show(name) or name in ("", ".", ".."):
        return
    backing.path = f"{path}/{name}"
    try:
        if not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
            return
        file = os.open(name, READ | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        return
    try:
        found = os.fstat(file)
        backing.permissions, backing.timestamps = _permissions(found), _timestamps(found)
        if backing.format is None and stat.S_ISREG(found.st_mode):
            backing.format = probe(os.pread(file, HEADER_BYTES, 0), found.st_size).format
    finally:
        os.close(file)


def look(stop: Stop, path: str, name: str, kind: str | None) -> VolumeModel | None:
    """Return what a file of a folder is now; None if it is no volume any more.

    Args:
        stop: not asked.
        path: of the folder.
        name: of the file.
        kind: its format. What is raw stays raw, whatever a guest has written into it; only who looks at the
            whole pool sees that.
    """
    with open_folder(path) as folder:
        return describe(folder, name, path, None if kind in PROBED else kind)


def open_volume(stop: Stop, path: str, name: str, what: str, domain: int, *, write: bool) -> int:
    """Open a file of a folder; returns its descriptor.

    Args:
        path: the folder.
        name: the file.
        what: begins the error's text.
        domain: of the error.
        write: to write to it as well.

    Raises:
        VirSystemError: that cannot be, or it is no file.
    """
    where = f"{what} '{path}/{name}'" if not what.startswith("Unable") else f"{what} {path}/{name}"
    with open_folder(path) as folder:
        try:
            file = os.open(name, WRITE if write else READ, dir_fd=folder)
        except OSError as error:
            raise system(where, error, domain) from error
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return file
    os.close(file)
    raise system(where, errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, domain)


def remove_volume(stop: Stop, path: str, name: str, *, is_folder: bool) -> None:
    """Remove a file, a link, or an empty folder; one that is gone is gone.

    Raises:
        VirSystemError: it cannot be removed.
    """
    with open_folder(path) as folder:
        try:
            if is_folder and stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:
            what = "cannot remove directory" if is_folder else "cannot unlink file"
            raise system(f"{what} '{path}/{name}'", error) from error


class Draft:
    """A volume that is being made.

    Attributes:
        path: of the pool's folder.
        name: of the volume.
        folder: a descriptor of the draft's folder; in it the volume has its name already.
        published: the volume is in the pool's folder.
    """

    __slots__ = ("_draft", "_parent", "folder", "name", "path", "published")

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self.folder = self._parent = -1
        self.published = False
        self._draft = f"{DRAFT}{secrets.token_hex(8)}"

    def open(self, stop: Stop) -> None:
        """Make the draft's folder.

        Raises:
            VirError: the name is taken, or it cannot be made, and nothing is there.
        """
        with open_folder(self.path) as folder:
            if _exists(folder, self.name):
                raise exists(self.path, self.name)
            self._parent = os.dup(folder)
        try:
            os.mkdir(self._draft, 0o700, dir_fd=self._parent)
            self.folder = os.open(self._draft, FOLDER | os.O_NOFOLLOW, dir_fd=self._parent)
            fcntl.flock(self.folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.remove()
            raise system(f"cannot create path '{self.path}/{self.name}'", error) from error

    def create(self) -> int:
        """Make the file, with nothing in it; returns its descriptor.

        Raises:
            VirSystemError: that cannot be.
        """
        flags = WRITE | os.O_CREAT | os.O_EXCL
        try:
            return os.open(self.name, flags, DEFAULT_MODE, dir_fd=self.folder)
        except OSError as error:
            raise system(f"Failed to create file '{self.path}/{self.name}'", error) from error

    def publish(self, stop: Stop, permissions: Permissions) -> None:
        """Let the volume have its name, and be its owner's.

        Raises:
            VirError: the name is taken by now, or it cannot be.
        """
        where = f"{self.path}/{self.name}"
        try:
            file = os.open(self.name, READ | os.O_NOFOLLOW, dir_fd=self.folder)
            try:
                set_permissions(file, where, permissions, DEFAULT_MODE)
                os.fsync(file)
                is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
            finally:
                os.close(file)
            self._move(is_folder)
            self.published = True
            os.fsync(self._parent)
        except FileExistsError as error:
            raise exists(self.path, self.name) from error
        except OSError as error:
            raise system(f"Failed to create file '{where}'", error) from error

    def _move(self, is_folder: bool) -> None:
        name = self.name
        if not is_folder:
            try:
                os.link(name, name, src_dir_fd=self.folder, dst_dir_fd=self._parent, follow_symlinks=False)
                return
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
        if _exists(self._parent, name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(name, name, src_dir_fd=self.folder, dst_dir_fd=self._parent)

    def remove(self) -> None:
        """Leave nothing of the draft; it must not be in use any more."""
        try:
            if self.folder >= 0:
                _remove_draft(self._parent, self._draft, self.folder)
        except OSError as error:
            log.error("{path}/{name} stays behind: {error}", path=self.path, name=self._draft, error=error)
        for descriptor in (self.folder, self._parent):
            if descriptor >= 0:
                os.close(descriptor)


def _remove_draft(parent: int, name: str, folder: int) -> None:
    for file in os.listdir(folder):
        try:
            os.unlink(file, dir_fd=folder)
        except IsADirectoryError:
            os.rmdir(file, dir_fd=folder)
    os.rmdir(name, dir_fd=parent)


def scan_draft(stop: Stop, path: str) -> None:
    """Remove what a daemon has left in a folder that died while it made volumes; raises VirSystemError."""
    with open_folder(path) as parent:
        for name in os.listdir(parent):
            if not name.startswith(DRAFT):
                continue
            with suppress(OSError):
                folder = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=parent)
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove_draft(parent, name, folder)
                    log.info("{path}/{name} was never completed, and is removed", path=path, name=name)
                finally:
                    os.close(folder)


def _exists(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise system(f"cannot stat file '{name}'", error) from error
    return True


def exists(path: str, name: str) -> VirError:
    """Return the error for a volume whose name is taken by something that is not known as a volume."""
    return invalid(f"volume target path '{path}/{name}' already exists")


def set_permissions(file: int, where: str, permissions: Permissions, default: int | None) -> None:
    """Give an open file to its owner; ``default`` is the mode if none is said, None for as it is.

    Raises:
        VirSystemError: that is not allowed.
    """
    found = os.fstat(file)
    owner = found.st_uid if permissions.owner is None else permissions.owner
    group = found.st_gid if permissions.group is None else permissions.group
    mode = default if permissions.mode is None else permissions.mode
    try:
        if (owner, group) != (found.st_uid, found.st_gid):
            os.fchown(file, owner, group)
    except OSError as error:
        raise system(f"cannot chown '{where}' to ({owner}, {group})", error) from error
    try:
        if mode is not None and mode != stat.S_IMODE(found.st_mode):
            os.fchmod(file, mode)
    except OSError as error:
        raise system(f"cannot set mode of '{where}' to {mode:04o}", error) from error
