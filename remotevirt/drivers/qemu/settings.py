"""What an operator decides for the QEMU driver: folders, the guests' user, bounds."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

import attrs

__all__ = ["NO_GROUPS", "SOCKET_MAXIMUM", "GuestUser", "Settings"]

SOCKET_MAXIMUM: Final = 107
"""Bytes of a UNIX socket's path (``sun_path`` without the zero at its end)."""

LONGEST_SOCKET: Final = len("/monitor/") + 32 + len(".sock")
"""What a guest's longest socket adds to the state folder: that of its monitor, or of a display in
``run/UUID/vnc.sock``."""

MONITOR_SECONDS: Final = 30.0
"""How long QEMU has to answer, where the operator does not say."""

LONGEST_SECONDS: Final = 86400
"""The longest that an operator may say: a day."""

NO_GROUPS: Final = "off"
"""What an operator says who wants no control groups."""

USERS: Final = ("remotevirt-qemu", "libvirt-qemu", "qemu")
"""Users that packages make for guests; the first that exists is taken where the daemon is root."""


@attrs.frozen
class GuestUser:
    """Who QEMU runs as: user, group and the other groups (``kvm`` among them, most likely)."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def may(self, found: os.stat_result, wanted: int) -> bool:
        """Return whether the mode of a file lets this user do something.

        Args:
            found: what is known of the file.
            wanted: 4 to read, 2 to write, 1 to enter, or a sum of these.
        """
        if found.st_uid == self.uid:
            return found.st_mode >> 6 & wanted == wanted
        if found.st_gid == self.gid or found.st_gid in self.groups:
            return found.st_mode >> 3 & wanted == wanted
        return found.st_mode & wanted == wanted

    def closed_to(self, path: str) -> str | None:
        """Return the first folder on the way to a file that this user cannot enter, None if there is none.

        Raises:
            OSError: a folder is not there.
        """
        folders = list(Path(path).parents)[::-1]
        return next((str(folder) for folder in folders if not self.may(folder.stat(), 1)), None)

    @classmethod
    def of(cls, name: str) -> GuestUser:
        """Look a user up.

        Raises:
            ValueError: there is none of that name.
        """
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            raise ValueError(f"user={name}: there is no such user") from None
        groups = tuple(sorted(set(os.getgrouplist(name, found.pw_gid)) - {found.pw_gid}))
        return cls(found.pw_uid, found.pw_gid, groups)


@attrs.frozen
class Settings:
    """How guests are run.

    Attributes:
        state: the driver's folder for what must outlive the daemon.
        user: who QEMU runs as; None for the daemon's own user, where that is not root.
        images: folders below which the files of guests must lie; empty for anywhere.
        job_timeout: seconds that a call waits for another one on the same domain. libvirt: 30.
        monitor_timeout: seconds that QEMU has to answer a question. libvirt waits for ever.
        cgroups: the control group that those of guests are below; None: wherever is best. NO_GROUPS: none.
        start_timeout: seconds from the start of the process to its first answer. libvirt: 30.
        shutdown_timeout: seconds from SIGTERM to SIGKILL. libvirt: 10, then 5 more.
    """

    state: Path
    user: GuestUser | None = None
    images: tuple[Path, ...] = ()
    job_timeout: float = 30.0
    monitor_timeout: float = MONITOR_SECONDS
    start_timeout: float = 60.0
    shutdown_timeout: float = 10.0
    cgroups: str | None = None

    @property
    def root(self) -> Path:
        """The daemon's folder for what must outlive it."""
        return self.state.parent

    @property
    def run(self) -> Path:
        """The folder of the guests' own folders."""
        return self.state / "run"

    @property
    def monitor(self) -> Path:
        """The folder of the sockets of guests' monitors, which only the daemon enters: each QEMU is given its
        own open."""
        return self.state / "monitor"

    @property
    def left_groups(self) -> Path:
        """The folder of notes of control groups that are to be removed."""
        return self.state / "left-groups"

    @property
    def save(self) -> Path:
        """The folder of managed saves."""
        return self.state / "save"

    @property
    def dump(self) -> Path:
        """The folder of the memory of guests that have panicked."""
        return self.state / "dump"

    @property
    def nvram(self) -> Path:
        """The folder of the firmware's variables."""
        return self.state / "nvram"

    @property
    def log(self) -> Path:
        """The folder of what QEMU says."""
        return self.state / "log"

    @property
    def channel(self) -> Path:
        """The folder of the sockets of guests' channels."""
        return self.state / "channel"

    def folder(self, uuid: bytes) -> Path:
        """The folder of one guest, while it runs."""
        return self.run / uuid.hex()

    @classmethod
    def make(
        cls,
        state: str,
        user: str | None = None,
        images: str | None = None,
        monitor_timeout: str | None = None,
        cgroups: str | None = None,
    ) -> Settings:
        """Check what the operator says.

        Args:
            state: an existing folder; the driver has one of its own inside, ``qemu``.
            user: a user's name.
            images: folders, separated by commas.
            monitor_timeout: a number of seconds.
            cgroups: the path of a control group, or NO_GROUPS.

        Raises:
            ValueError: something cannot be so.
        """
        if not os.path.isabs(state) or not os.path.isdir(state):
            raise ValueError(f"state={state}: not an absolute path of a folder")
        folder = Path(os.path.realpath(state)) / "qemu"
        if len(os.fsencode(folder)) + LONGEST_SOCKET > SOCKET_MAXIMUM:
            most = SOCKET_MAXIMUM - LONGEST_SOCKET - len("/qemu")
            raise ValueError(f"state={state}: too long for sockets inside; at most {most} bytes")
        named = [place for place in (images or "").split(",") if place]
        for place in named:
            if not os.path.isabs(place):
                raise ValueError(f"images={place}: not an absolute path")
        places = tuple(Path(os.path.realpath(place)) for place in named)
        who = _choose_user(user)
        closed = None if who is None else who.closed_to(str(folder))
        if closed is not None:
            raise ValueError(f"state={state}: guests, who are not root, cannot enter {closed} (chmod o+x)")
        return cls(
            folder, who, places, monitor_timeout=_seconds(monitor_timeout), cgroups=_group_path(cgroups)
        )


def _seconds(text: str | None) -> float:
    """Return the deadline of the monitor."""
    if text is None:
        return MONITOR_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"monitor-timeout={text}: not a number of seconds from 1 to {LONGEST_SECONDS}")
    return seconds


def _group_path(text: str | None) -> str | None:
    """Return the control group that the operator names."""
    if text is None or text == NO_GROUPS:
        return text
    parts = text.split("/")[1:]
    if not text.startswith("/") or any(part in ("", ".", "..") for part in parts) or not text.isascii():
        raise ValueError(f"cgroups={text}: neither {NO_GROUPS} nor the path of a control group")
    return text


def _choose_user(name: str | None) -> GuestUser | None:
    """Return who guests run as."""
    if name is not None:
        found = GuestUser.of(name)
        if os.geteuid() not in (0, found.uid):
            raise ValueError(f"user={name}: only root can run guests as somebody else")
        if found.uid == 0:
            raise ValueError(f"user={name}: guests do not run as root")
        return found if os.geteuid() == 0 else None
    if os.geteuid() != 0:
        return None
    for candidate in USERS:
        try:
            return GuestUser.of(candidate)
        except ValueError:
            continue
    names = ", ".join(USERS)
    raise ValueError(f"guests do not run as root: make one of the users {names}, or say user=NAME")
