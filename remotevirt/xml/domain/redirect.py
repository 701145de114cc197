"""Devices of the viewer: redirected USB devices and smart cards."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlError
from remotevirt.xml.domain.address import BootableInfo, DeviceInfo, UsbAddress
from remotevirt.xml.domain.chardev import TYPES, Backend
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    hook,
    inline,
    leaf,
    leaves,
)
from remotevirt.xml.values import (
    Choice,
    unsupported,
)
from remotevirt.xml.write import Tag

__all__ = ["RedirDevice", "SmartCard"]


@attrs.define
class RedirDevice(Model):
    """A USB device of the viewer's machine."""

    TAG: ClassVar[str] = "redirdev"
    HOLD: ClassVar[bool] = True
    bus: str = attribute(
        "bus", Choice("usb", refusal=unsupported("unknown redirdev bus '{}'")), default="usb"
    )
    backend: Backend = inline(Backend)
    info: BootableInfo = inline(BootableInfo)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        if source.get("bus") not in {None, "usb"}:
            text = f"unknown redirdev bus '{source.get('bus')}'"
            raise ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)
        if source.get("type") is None:
            raise InternalError("missing type in redirdev", domain=VIR_FROM_DOMAIN)
        if source.get("type") not in TYPES.split():
            raise ConfigUnsupported(
                f"unknown redirdev character device type '{source.get('type')}'", domain=VIR_FROM_DOMAIN
            )
        return super().read_source(source, how)

    def complete(self, source: Source, how: Reading) -> None:
        if self.info.address is not None and not isinstance(self.info.address, UsbAddress):
            raise XmlError("Invalid address for a USB device", domain=VIR_FROM_DOMAIN)


@attrs.define
class SmartCard(Model):
    """A smart card reader."""

    TAG: ClassVar[str] = "smartcard"
    mode: str = attribute("mode", Choice("host host-certificates passthrough"), required=True)
    backend: Backend | None = hook(lambda source, how, model: None, lambda value, how, model: None)
    certificates: list[str] = leaves("certificate")
    database: str | None = leaf("database")
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.mode == "passthrough":
            if source.get("type") is None:
                raise XmlError(
                    "passthrough mode requires a character device type attribute", domain=VIR_FROM_DOMAIN
                )
            self.backend = Backend.read_source(source, how)
        if self.mode != "host-certificates":
            self.certificates, self.database = [], None
        elif len(self.certificates) != 3:
            raise XmlError("host-certificates mode needs exactly three certificates", domain=VIR_FROM_DOMAIN)
        elif self.database is not None and not self.database.startswith("/"):
            raise XmlError(f"expecting absolute path: {self.database}", domain=VIR_FROM_DOMAIN)

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("mode", self.mode)
        if self.backend is not None:
            self.backend.fill(tag, how)
        for certificate in self.certificates:
            one = Tag("certificate")
            one.text = certificate
            tag.add(one)
        if self.database is not None:
            one = Tag("database")
            one.text = self.database
            tag.add(one)
        self.info.fill(tag, how)
