"""The parts of storage that another machine serves: hosts, initiators, cookies."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import ClassVar

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NONE, VIR_FROM_STORAGE
from remotevirt.stubs.errors import InvalidArg, XmlError
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    body,
    child,
    children,
)
from remotevirt.xml.values import (
    Choice,
    Integer,
    parse_integer,
    unsupported,
    xml_error,
)
from remotevirt.xml.write import Tag

__all__ = ["PROTOCOLS", "Cookies", "Host", "Identity", "Initiator", "bad_port"]


PROTOCOLS = "nbd rbd sheepdog gluster iscsi http https ftp ftps tftp ssh vxhs nfs"


def bad_port(text: str) -> VirError:
    if parse_integer(text) is None:
        return InvalidArg(f"failed to parse port number '{text}'", domain=VIR_FROM_NONE)
    return InvalidArg(f"port '{text}' out of range", domain=VIR_FROM_NONE)


@attrs.define
class Host(Model):
    """A server of network storage."""

    TAG: ClassVar[str] = "host"
    KEEP: ClassVar[bool] = True
    name: str | None = attribute("name")
    port: int | None = attribute("port", Integer(high=65535, zero="silent", refusal=bad_port))
    transport: str | None = attribute(
        "transport", Choice("tcp unix rdma", refusal=unsupported("unknown protocol transport type '{}'"))
    )
    socket: str | None = attribute("socket")

    def complete(self, source: Source, how: Reading) -> None:
        if self.transport == "unix":
            if self.socket is None:
                raise XmlError("missing socket for unix transport", domain=VIR_FROM_DOMAIN)
            self.name = self.port = None
        else:
            if self.socket is not None:
                raise XmlError(
                    f"transport '{self.transport or '(null)'}' does not support socket attribute",
                    domain=VIR_FROM_DOMAIN,
                )
            if self.name is None:
                raise XmlError("missing name for host", domain=VIR_FROM_DOMAIN)
            if self.transport == "tcp":
                self.transport = None


@attrs.define
class Identity(Model):
    """Who NFS is told that the guest is: a user and a group, by name or number."""

    TAG: ClassVar[str] = "identity"
    user: str | None = attribute("user")
    group: str | None = attribute("group")


@attrs.define
class InitiatorName(Model):
    TAG: ClassVar[str] = "iqn"
    name: str | None = attribute("name")


@attrs.define
class Initiator(Model):
    """Who the target of iSCSI is told that the guest is."""

    TAG: ClassVar[str] = "initiator"
    iqn: InitiatorName | None = child(InitiatorName)


_COOKIE_NAME = re.compile(r"[!#$%&'*+.0-9A-Z^_`a-z|~-]+\Z")


_COOKIE_VALUE = re.compile(r"[!#$%&'()*+./0-9:>=<?@A-Z^_`\[\]a-z|~-]*\Z")


@attrs.define
class Cookie(Model):
    TAG: ClassVar[str] = "cookie"
    name: str = attribute("name", required=xml_error("missing cookie name"))
    value: str | None = body()

    def complete(self, source: Source, how: Reading) -> None:
        value = self.value or ""
        if not value:
            raise XmlError(f"missing value for cookie '{self.name}'", domain=VIR_FROM_DOMAIN)
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if not _COOKIE_NAME.match(self.name):
            raise XmlError(f"cookie name '{self.name}' contains invalid characters", domain=VIR_FROM_STORAGE)
        if not _COOKIE_VALUE.match(value):
            raise XmlError(
                f"value of cookie '{self.name}' contains invalid characters", domain=VIR_FROM_STORAGE
            )


@attrs.define
class Cookies(Model):
    """Cookies for a disk that is read over HTTP; shown only to those who may see passwords."""

    TAG: ClassVar[str] = "cookies"
    cookies: list[Cookie] = children(Cookie)

    def print_into(self, parent: Tag, how: Printing) -> None:
        if how.secure:
            super().print_into(parent, how)
