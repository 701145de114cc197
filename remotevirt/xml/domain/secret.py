"""Secrets of storage: who asks for it, and how it is encrypted."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar, Self

import attrs

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_NONE, VIR_FROM_STORAGE
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.fields import (
    Model,
    Reading,
    Source,
    attribute,
    child,
    children,
)
from remotevirt.xml.values import (
    Choice,
    Integer,
    Text,
    Uuid,
    xml_error,
)

__all__ = ["Auth", "Encryption", "Secret"]


@attrs.define
class Secret(Model):
    """Which secret unlocks something: by UUID or by usage."""

    TAG: ClassVar[str] = "secret"
    type: str | None = attribute("type")
    uuid: bytes | None = attribute("uuid", Uuid(refusal=xml_error("invalid secret uuid '{}'", VIR_FROM_NONE)))
    usage: str | None = attribute("usage")

    def complete(self, source: Source, how: Reading) -> None:
        if self.uuid is None and self.usage is None:
            raise XmlError("missing secret uuid or usage attribute", domain=0)
        if self.uuid is not None and self.usage is not None:
            raise XmlError("either secret uuid or usage expected", domain=0)


@attrs.define
class VolumeSecret(Secret):
    """The secret of an encrypted volume."""

    def complete(self, source: Source, how: Reading) -> None:
        if self.type is None:
            raise XmlError("unknown volume encryption secret type", domain=VIR_FROM_STORAGE)
        if self.type != "passphrase":
            raise ConfigUnsupported(
                f"unknown volume encryption secret type {self.type}", domain=VIR_FROM_STORAGE
            )
        super().complete(source, how)


@attrs.define
class Auth(Model):
    """Who asks for network storage."""

    TAG: ClassVar[str] = "auth"
    username: str = attribute("username", required=xml_error("missing username for auth", VIR_FROM_STORAGE))
    secret: Secret | None = child(Secret)

    def complete(self, source: Source, how: Reading) -> None:
        if not self.username:
            raise XmlError("missing username for auth", domain=VIR_FROM_STORAGE)
        if self.secret is None:
            raise XmlError("Missing <secret> element in auth", domain=VIR_FROM_STORAGE)


@attrs.define
class Cipher(Model):
    TAG: ClassVar[str] = "cipher"
    name: str = attribute(
        "name",
        Text(empty=True),
        required=xml_error("cipher info missing 'name' attribute", VIR_FROM_STORAGE),
    )
    size: int = attribute("size", Integer(), required=True)
    mode: str | None = attribute("mode")
    hash: str | None = attribute("hash")


@attrs.define
class IvGen(Model):
    TAG: ClassVar[str] = "ivgen"
    name: str = attribute("name", required=xml_error("missing ivgen info name string", VIR_FROM_STORAGE))
    hash: str | None = attribute("hash")


def _unknown_format(text: str) -> VirError:
    """Return the error for a format that is not known, or empty."""
    if not text:
        return XmlError("unknown volume encryption format", domain=VIR_FROM_STORAGE)
    return ConfigUnsupported(f"unknown volume encryption format type {text}", domain=VIR_FROM_STORAGE)


@attrs.define
class Encryption(Model):
    """How a volume is encrypted; only that of LUKS can be told more than its secrets."""

    TAG: ClassVar[str] = "encryption"
    HOLD: ClassVar[bool] = True
    format: str = attribute(
        "format",
        Choice(
            "default qcow luks luks2",
            refusal=_unknown_format,
        ),
        required=xml_error("unknown volume encryption format", VIR_FROM_STORAGE),
    )
    engine: str | None = attribute("engine", Choice("qemu librbd"))
    secrets: list[VolumeSecret] = children(VolumeSecret)
    cipher: Cipher | None = child(Cipher)
    ivgen: IvGen | None = child(IvGen)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        if source.get("format") != "luks":
            for tag in ("cipher", "ivgen"):
                source.children.pop(tag, None)
        return super().read_source(source, how)

    def complete(self, source: Source, how: Reading) -> None:
        if self.ivgen is not None and self.cipher is None:
            raise XmlError("ivgen element found, but cipher is missing", domain=VIR_FROM_STORAGE)
