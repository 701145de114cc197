"""The small devices: watchdog, balloon, random numbers, TPM, panic, vsock, IOMMU, NVRAM."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.domain.address import DeviceInfo
from remotevirt.xml.domain.chardev import Backend
from remotevirt.xml.domain.disk import VirtioDriver
from remotevirt.xml.fields import (
    Model,
    Printing,
    Reading,
    Source,
    attribute,
    body,
    child,
    children,
    flag,
    inline,
    leaf,
    nested_attribute,
    variant,
)
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, Integer, Uuid, internal, on_off, unsupported, xml_error, yes_no
from remotevirt.xml.write import Tag

__all__ = ["Iommu", "MemoryBalloon", "Nvram", "Panic", "RandomSource", "RedirFilter", "Tpm", "Vsock", "Watchdog"]

_VIRTIO = "virtio virtio-transitional virtio-non-transitional"


@attrs.define
class Watchdog(Model):
    """Acts when the guest hangs."""

    TAG: ClassVar[str] = "watchdog"
    model: str = attribute("model", Choice("i6300esb ib700 diag288 itco"), required=True)
    action: str = attribute("action", Choice("reset shutdown poweroff pause dump none inject-nmi"), default="reset")
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class MemoryBalloon(Model):
    """Takes memory back from the guest."""

    TAG: ClassVar[str] = "memballoon"
    model: str = attribute("model", Choice(f"{_VIRTIO} xen none"), required=True)
    autodeflate: bool | None = attribute("autodeflate", on_off())
    free_page_reporting: bool | None = attribute("freePageReporting", on_off())
    period: int | None = nested_attribute("stats/period", Integer(signed=True, zero="silent", refusal=xml_error("invalid statistics collection period")))
    info: DeviceInfo = inline(DeviceInfo)
    driver: VirtioDriver | None = child(VirtioDriver)

    def complete(self, source: Source, how: Reading) -> None:
        if self.period is not None and self.period < 0:
            self.period = None


@attrs.define
class Nvram(Model):
    TAG: ClassVar[str] = "nvram"
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class Rate(Model):
    TAG: ClassVar[str] = "rate"
    bytes: int = attribute("bytes", Integer(), required=True)
    period: int | None = attribute("period", Integer(zero="silent"))


@attrs.define
class RandomBackend(Model):
    """The base of all backends."""

    TAG: ClassVar[str] = "backend"
    model: str = attribute("model")


@attrs.define
class RandomDevice(RandomBackend):
    path: str | None = body()


@attrs.define
class RandomDaemon(RandomBackend):
    backend: Backend = inline(Backend)


@attrs.define
class RandomBuiltin(RandomBackend):
    pass


_RANDOM: dict[str, type[RandomBackend]] = {"random": RandomDevice, "egd": RandomDaemon, "builtin": RandomBuiltin}


def _choose_random(element: Element) -> type[Model]:
    model = element.get("model")
    if model is None:
        raise XmlError("missing RNG device backend model", domain=VIR_FROM_DOMAIN)
    if model not in _RANDOM:
        raise XmlError(f"unknown RNG backend model '{model}'", domain=VIR_FROM_DOMAIN)
    return _RANDOM[model]


@attrs.define
class RandomSource(Model):
    """Random numbers from the host."""

    TAG: ClassVar[str] = "rng"
    model: str = attribute("model", Choice(_VIRTIO), required=True)
    rate: Rate | None = child(Rate)
    backend: RandomBackend | None = variant("backend", _choose_random)
    driver: VirtioDriver | None = child(VirtioDriver)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.backend is None:
            raise XmlError("missing RNG device backend model", domain=VIR_FROM_DOMAIN)


@attrs.define
class TpmSource(Model):
    TAG: ClassVar[str] = "source"
    type: str = attribute("type", default="unix")
    mode: str | None = attribute("mode")
    path: str | None = attribute("path")


@attrs.define
class PcrBanks(Model):
    TAG: ClassVar[str] = "active_pcr_banks"
    sha1: bool = flag("sha1")
    sha256: bool = flag("sha256")
    sha384: bool = flag("sha384")
    sha512: bool = flag("sha512")


@attrs.define
class TpmDevice(Model):
    TAG: ClassVar[str] = "device"
    path: str | None = attribute("path")


@attrs.define
class TpmBackend(Model):
    TAG: ClassVar[str] = "backend"
    type: str = attribute("type", Choice("passthrough emulator external"), required=True)
    version: str | None = attribute("version", Choice("1.2 2.0", silent="default"))
    persistent_state: bool | None = attribute("persistent_state", yes_no())
    device: TpmDevice | None = child(TpmDevice)
    source: TpmSource | None = child(TpmSource)
    encryption: bytes | None = nested_attribute("encryption/secret", Uuid(refusal=xml_error("Unable to parse secret uuid '{}'")))
    banks: PcrBanks | None = child(PcrBanks)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type == "passthrough":
            self.persistent_state = self.source = self.encryption = self.banks = None
            self.device = self.device or TpmDevice()
            self.device.path = self.device.path or "/dev/tpm0"
        elif self.type == "emulator":
            self.device = self.source = None
            self.persistent_state = self.persistent_state or None
        else:
            self.persistent_state = self.device = self.encryption = self.banks = None


@attrs.define
class Tpm(Model):
    """A trusted platform module."""

    TAG: ClassVar[str] = "tpm"
    model: str | None = attribute("model", Choice("tpm-tis tpm-crb tpm-spapr spapr-tpm-proxy", silent="default"))
    backend: TpmBackend | None = child(TpmBackend)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.backend is None:
            raise XmlError("missing TPM device backend", domain=VIR_FROM_DOMAIN)


@attrs.define
class Panic(Model):
    """How the guest's kernel reports that it died."""

    TAG: ClassVar[str] = "panic"
    model: str | None = attribute("model", Choice("isa pseries hyperv s390 pvpanic", silent="default"))
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class IommuDriver(Model):
    TAG: ClassVar[str] = "driver"
    intremap: bool | None = attribute("intremap", on_off())
    caching_mode: bool | None = attribute("caching_mode", on_off())
    eim: bool | None = attribute("eim", on_off())
    iotlb: bool | None = attribute("iotlb", on_off())
    aw_bits: int | None = attribute("aw_bits", Integer(zero="silent"))


@attrs.define
class Iommu(Model):
    TAG: ClassVar[str] = "iommu"
    model: str = attribute("model", Choice("intel smmuv3 virtio"), required=True)
    driver: IommuDriver | None = child(IommuDriver)
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class VsockCid(Model):
    TAG: ClassVar[str] = "cid"
    auto: bool | None = attribute("auto", yes_no())
    address: int | None = attribute("address", Integer(zero="silent"))

    def complete(self, source: Source, how: Reading) -> None:
        if self.auto and not how.live:
            self.address = None


@attrs.define
class Vsock(Model):
    """Sockets between guest and host."""

    TAG: ClassVar[str] = "vsock"
    model: str | None = attribute("model", Choice(_VIRTIO, silent="default"))
    cid: VsockCid | None = child(VsockCid)
    info: DeviceInfo = inline(DeviceInfo)
    driver: VirtioDriver | None = child(VirtioDriver)


@attrs.define
class UsbFilter(Model):
    TAG: ClassVar[str] = "usbdev"
    usb_class: int | None = attribute("class", Integer(base=0, style="#04x", signed=True))
    vendor: int | None = attribute("vendor", Integer(base=0, style="#06x", signed=True))
    product: int | None = attribute("product", Integer(base=0, style="#06x", signed=True))
    version: str | None = attribute("version")
    allow: bool = attribute("allow", yes_no(), required=xml_error("invalid allow value, either 'yes' or 'no'"))

    def fill(self, tag: Tag, how: Printing) -> None:
        for name, value, digits in (("class", self.usb_class, 2), ("vendor", self.vendor, 4), ("product", self.product, 4)):
            if value is not None and value >= 0:
                tag.set(name, f"0x{value:0{digits}X}")
        tag.set("version", self.version if self.version != "-1" else None)
        tag.set("allow", "yes" if self.allow else "no")


@attrs.define
class RedirFilter(Model):
    """Which USB devices of the viewer's machine may be redirected."""

    TAG: ClassVar[str] = "redirfilter"
    HOLD: ClassVar[bool] = True
    rules: list[UsbFilter] = children(UsbFilter)
