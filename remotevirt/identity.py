"""Who a client is: what its transport proved, and what it proved itself.

::

    UNIX socket   uid, gid, pid      from the kernel (SO_PEERCRED), at the moment of connecting
    TLS           dn                 the subject of the certificate that was verified
    SASL          sasl               the user name that was authenticated, over any transport

An identity is made when a client connects and replaced by one that says more when it authenticates. Rights,
the audit trail, the admin program and drivers all read it; nobody changes it.
"""

from __future__ import annotations

import grp
import os
import pwd

import attrs

__all__ = ["Identity"]


@attrs.frozen
class Identity:
    """What is known of a client.

    Attributes:
        transport: ``"unix"``, ``"tcp"`` or ``"tls"``.
        address: the peer in libvirt's form, ``HOST;PORT``; for a UNIX socket ``127.0.0.1;0``, as
            libvirtd shows it.
        uid, gid, pid: of the process at the other end of a UNIX socket; None elsewhere.
        dn: the distinguished name of a verified certificate as GnuTLS writes it
            (``C=GB,O=Example,CN=client``); None without one.
        sasl: the user name that SASL authenticated; None without it.
    """

    transport: str = "unix"
    address: str = "127.0.0.1;0"
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    dn: str | None = None
    sasl: str | None = None

    @property
    def peer(self) -> str:
        """What limits count clients by: the host of a network client, the user of a local one."""
        if self.uid is not None:
            return f"uid {self.uid}"
        return self.address.rpartition(";")[0] if self.transport != "unix" else "local"

    @property
    def user(self) -> str | None:
        """The name of ``uid``, None where there is none."""
        if self.uid is None:
            return None
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return None

    @property
    def group(self) -> str | None:
        """The name of ``gid``, None where there is none."""
        if self.gid is None:
            return None
        try:
            return grp.getgrgid(self.gid).gr_name
        except KeyError:
            return None

    def groups(self) -> frozenset[int]:
        """The groups of a local client: its own, and those of its user, as the system knows them."""
        if self.gid is None:
            return frozenset()
        user = self.user
        return frozenset({self.gid} if user is None else {self.gid, *os.getgrouplist(user, self.gid)})

    def __str__(self) -> str:
        """What the log and the audit trail call it: the strongest name it has, then where it is."""
        if self.sasl is not None:
            name = self.sasl
        elif self.dn is not None:
            name = self.dn
        elif self.uid is not None:
            name = f"{self.user or 'uid'}({self.uid})"
        else:
            name = "anonymous"
        place = f"pid {self.pid}" if self.transport == "unix" else self.address
        return f"{name} at {self.transport} {place}"
