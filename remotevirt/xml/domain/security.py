"""Security labels, key wrapping and protected guests."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, InternalError, XmlDetail, XmlError
from remotevirt.xml.fields import Model, Printing, Reading, Source, attribute, children, leaf
from remotevirt.xml.values import Choice, Integer, on_off, yes_no
from remotevirt.xml.write import Tag

__all__ = ["DeviceSecLabel", "KeyWrap", "LaunchSecurity", "SecLabel", "check_labels"]


@attrs.define
class SecLabel(Model):
    """A label of a security driver for the guest."""

    TAG: ClassVar[str] = "seclabel"
    KEEP: ClassVar[bool] = True
    type: str | None = attribute("type", Choice("none dynamic static"))
    model: str | None = attribute("model")
    relabel: bool | None = attribute("relabel", yes_no())
    label: str | None = leaf("label")
    imagelabel: str | None = leaf("imagelabel", live=True)
    baselabel: str | None = leaf("baselabel")

    def complete(self, source: Source, how: Reading) -> None:
        if self.model == "none":
            self.type = "none"
        if self.type is None:
            self.relabel = self.relabel is not False
            return
        if self.type == "none":
            if self.relabel:
                raise ConfigUnsupported(
                    "resource relabeling is not compatible with 'none' label type", domain=VIR_FROM_DOMAIN
                )
            self.relabel = False
        elif self.type == "dynamic" and self.relabel is False:
            raise ConfigUnsupported("dynamic label type must use resource relabeling", domain=VIR_FROM_DOMAIN)
        elif self.relabel is None:
            self.relabel = self.type == "dynamic"
        if self.type == "static" and self.label is None:
            raise XmlError("security label is missing", domain=VIR_FROM_DOMAIN)
        if self.type != "static" and not how.live:
            self.label = None
        if self.type != "dynamic":
            self.baselabel = None
        if self.type == "none":
            self.label = None

    def print_into(self, parent: Tag, how: Printing) -> None:
        if self.type is not None:
            super().print_into(parent, how)

    def fill(self, tag: Tag, how: Printing) -> None:
        tag.set("type", self.type).set("model", self.model)
        if self.type == "none":
            return
        tag.set("relabel", "yes" if self.relabel else "no")
        for name, text in (
            ("label", self.label),
            ("imagelabel", self.imagelabel),
            ("baselabel", self.baselabel),
        ):
            if text is not None and not (how.inactive and name == "imagelabel"):
                leaf_tag = Tag(name)
                leaf_tag.text = text
                tag.add(leaf_tag)


def check_labels(labels: Sequence[SecLabel]) -> None:
    """Check that each label of several is for another security driver. Raises VirError."""
    seen: list[str | None] = []
    for label in labels:
        if label.model in seen:
            shown = "(null)" if label.model is None else label.model
            raise XmlDetail(f"seclabel for model {shown} is already provided", domain=VIR_FROM_DOMAIN)
        seen.append(label.model)
    if len(labels) > 1 and None in seen:
        raise XmlError("missing security model when using multiple labels", domain=VIR_FROM_DOMAIN)


@attrs.define
class DeviceSecLabel(Model):
    """A label for one disk image or character device."""

    TAG: ClassVar[str] = "seclabel"
    KEEP: ClassVar[bool] = True
    model: str | None = attribute("model")
    labelskip: bool | None = attribute("labelskip", yes_no())
    relabel: bool | None = attribute("relabel", yes_no())
    label: str | None = leaf("label")

    def print_into(self, parent: Tag, how: Printing) -> None:
        if not (self.labelskip and how.inactive) and not self.is_silent():
            super().print_into(parent, how)

    def is_silent(self) -> bool:
        """Whether it asks for nothing."""
        return self.labelskip is None and self.relabel is None and self.label is None

    def complete(self, source: Source, how: Reading) -> None:
        if self.labelskip:
            self.relabel = None
        else:
            self.labelskip = None
            if self.relabel is None and self.label is not None:
                self.relabel = True
        if self.label is not None and self.relabel is False:
            raise XmlError(
                f"Cannot specify a label if relabelling is turned off. model={self.model or 'DEFAULT'}",
                domain=VIR_FROM_DOMAIN,
            )


@attrs.define
class Cipher(Model):
    TAG: ClassVar[str] = "cipher"
    name: str = attribute("name", Choice("aes dea"), required=True)
    state: bool = attribute("state", on_off(), required=True)


@attrs.define
class KeyWrap(Model):
    """Which ciphers wrap the guest's keys (s390)."""

    TAG: ClassVar[str] = "keywrap"
    ciphers: list[Cipher] = children(Cipher)

    def complete(self, source: Source, how: Reading) -> None:
        names = [cipher.name for cipher in self.ciphers]
        for name in ("aes", "dea"):
            if names.count(name) > 1:
                raise InternalError(
                    f"A domain definition can have no more than one cipher node with name {name}",
                    domain=VIR_FROM_DOMAIN,
                )
        self.ciphers.sort(key=lambda cipher: cipher.name)


@attrs.define
class LaunchSecurity(Model):
    """AMD's and IBM's protected guests."""

    TAG: ClassVar[str] = "launchSecurity"
    KEEP: ClassVar[bool] = True
    type: str = attribute("type", Choice("sev s390-pv"), required=True)
    kernel_hashes: bool | None = attribute("kernelHashes", yes_no())
    cbitpos: int | None = leaf("cbitpos", Integer())
    reduced_phys_bits: int | None = leaf("reducedPhysBits", Integer())
    policy: int | None = leaf("policy", Integer(base=16, style="#06x", lenient=True))
    dh_cert: str | None = leaf("dhCert")
    session: str | None = leaf("session")

    def complete(self, source: Source, how: Reading) -> None:
        if self.type == "sev":
            if self.policy is None:
                raise XmlError("failed to get launch security policy", domain=VIR_FROM_DOMAIN)
        else:
            self.kernel_hashes = self.cbitpos = self.reduced_phys_bits = None
            self.policy = self.dh_cert = self.session = None
