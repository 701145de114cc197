"""The small devices: watchdog, balloon, random numbers, TPM, panic, vsock, IOMMU, NVRAM."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

import re
from typing import ClassVar, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.domain.address import DeviceInfo
from remotevirt.xml.domain.chardev import TYPES, Backend
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
    nested_attribute,
    variant,
)
from remotevirt.xml.parse import Element
from remotevirt.xml.values import Choice, Integer, Uuid, internal, on_off, unsupported, xml_error, yes_no
from remotevirt.xml.write import Tag

__all__ = [
    "Iommu",
    "MemoryBalloon",
    "Nvram",
    "Panic",
    "PcrBanks",
    "RandomSource",
    "RedirFilter",
    "Tpm",
    "Vsock",
    "Watchdog",
]

_VIRTIO = "virtio virtio-transitional virtio-non-transitional"


@attrs.define
class Watchdog(Model):
    """Acts when the guest hangs."""

    TAG: ClassVar[str] = "watchdog"
    model: str = attribute(
        "model",
        Choice("i6300esb ib700 diag288", refusal=unsupported("unknown watchdog model '{}'")),
        required=internal("watchdog must contain model name"),
    )
    action: str = attribute(
        "action",
        Choice(
            "reset shutdown poweroff pause dump none inject-nmi",
            refusal=unsupported("unknown watchdog action '{}'"),
        ),
        default="reset",
    )
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class MemoryBalloon(Model):
    """Takes memory back from the guest."""

    TAG: ClassVar[str] = "memballoon"
    model: str = attribute("model", Choice(f"{_VIRTIO} xen none"), required=True)
    autodeflate: bool | None = attribute("autodeflate", on_off())
    free_page_reporting: bool | None = attribute("freePageReporting", on_off())
    period: int | None = nested_attribute("stats/period", Integer(signed=True, zero="silent"))
    info: DeviceInfo = inline(DeviceInfo)
    driver: VirtioDriver | None = child(VirtioDriver)

    def complete(self, source: Source, how: Reading) -> None:
        if self.period is not None and self.period < 0:
            self.period = None
        if self.model == "none":
            self.info = DeviceInfo()


@attrs.define
class Nvram(Model):
    """The non-volatile memory of a POWER guest."""

    TAG: ClassVar[str] = "nvram"
    HOLD: ClassVar[bool] = True
    info: DeviceInfo = inline(DeviceInfo)


@attrs.define
class Rate(Model):
    TAG: ClassVar[str] = "rate"
    bytes: int | None = attribute(
        "bytes", Integer(zero="silent", refusal=xml_error("invalid RNG rate bytes value"))
    )
    period: int | None = attribute(
        "period", Integer(zero="silent", refusal=xml_error("invalid RNG rate period value"))
    )

    def complete(self, source: Source, how: Reading) -> None:
        if self.bytes is None:
            self.period = None


@attrs.define
class RandomBackend(Model):
    """The base of all backends."""

    TAG: ClassVar[str] = "backend"
    model: str = attribute("model")


@attrs.define
class RandomDevice(RandomBackend):
    path: str = body()

    def complete(self, source: Source, how: Reading) -> None:
        self.path = self.path or "/dev/random"


@attrs.define
class RandomDaemon(RandomBackend):
    HOLD: ClassVar[bool] = True
    backend: Backend = inline(Backend)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        kind = source.get("type")
        if kind is None:
            raise XmlError("missing EGD backend type", domain=VIR_FROM_DOMAIN)
        if kind not in TYPES.split():
            raise ConfigUnsupported(f"unknown backend type '{kind}' for egd", domain=VIR_FROM_DOMAIN)
        return super().read_source(source, how)


@attrs.define
class RandomBuiltin(RandomBackend):
    pass


_RANDOM: dict[str, type[RandomBackend]] = {
    "random": RandomDevice,
    "egd": RandomDaemon,
    "builtin": RandomBuiltin,
}


def _choose_random(element: Element) -> type[Model]:
    model = element.get("model")
    if model is None:
        raise XmlError("missing RNG device backend model", domain=VIR_FROM_DOMAIN)
    if model not in _RANDOM:
        raise ConfigUnsupported(f"unknown RNG backend model '{model}'", domain=VIR_FROM_DOMAIN)
    return _RANDOM[model]


@attrs.define
class RandomSource(Model):
    """Random numbers from the host."""

    TAG: ClassVar[str] = "rng"
    model: str = attribute(
        "model",
        Choice(_VIRTIO, refusal=unsupported("unknown RNG model '{}'")),
        required=xml_error("missing RNG device model"),
    )
    rate: Rate | None = child(Rate)
    backend: RandomBackend | None = variant("backend", _choose_random)
    driver: VirtioDriver | None = child(VirtioDriver)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if len(source.children.get("backend", ())) != 1:
            raise XmlError("only one RNG backend is supported", domain=VIR_FROM_DOMAIN)


@attrs.define
class TpmSource(Model):
    TAG: ClassVar[str] = "source"
    type: str = attribute("type", default="unix")
    mode: str | None = attribute("mode", Choice("connect bind"))
    path: str | None = attribute("path")

    def complete(self, source: Source, how: Reading) -> None:
        if self.mode == "bind":
            text = "only 'client' mode is supported for external TPM device"
            raise XmlError(text, domain=VIR_FROM_DOMAIN)


@attrs.define
class PcrBanks(Model):
    """Which banks of registers an emulated TPM has on."""

    TAG: ClassVar[str] = "active_pcr_banks"
    sha1: bool = flag("sha1")
    sha256: bool = flag("sha256")
    sha384: bool = flag("sha384")
    sha512: bool = flag("sha512")

    def complete(self, source: Source, how: Reading) -> None:
        for name in source.children:
            if name not in {"sha1", "sha256", "sha384", "sha512"}:
                raise ConfigUnsupported(f"Unsupported PCR banks '{name}'", domain=VIR_FROM_DOMAIN)


@attrs.define
class TpmDevice(Model):
    TAG: ClassVar[str] = "device"
    path: str | None = attribute("path")


@attrs.define
class TpmBackend(Model):
    TAG: ClassVar[str] = "backend"
    type: str = attribute("type", Choice("passthrough emulator external"), required=True)
    version: str | None = attribute("version", Choice("1.2 2.0"))
    persistent_state: bool | None = attribute(
        "persistent_state", yes_no(internal("Invalid persistent_state value, either 'yes' or 'no'"))
    )
    device: TpmDevice | None = child(TpmDevice)
    source: TpmSource | None = child(TpmSource)
    encryption: bytes | None = nested_attribute(
        "encryption/secret", Uuid(refusal=internal("Unable to parse secret uuid '{}'"))
    )
    banks: PcrBanks | None = child(PcrBanks)

    def complete(self, source: Source, how: Reading) -> None:
        if self.type != "emulator":
            self.version = None
        if self.type == "passthrough":
            self.persistent_state = self.source = self.encryption = self.banks = None
            self.device = self.device or TpmDevice()
            self.device.path = self.device.path or "/dev/tpm0"
        elif self.type == "emulator":
            self.device = self.source = None
            self.persistent_state = self.persistent_state or None
        else:
            self.persistent_state = self.device = self.encryption = self.banks = None
            if self.source is None:
                raise XmlError("missing external TPM backend type", domain=VIR_FROM_DOMAIN)


@attrs.define
class Tpm(Model):
    """A trusted platform module."""

    TAG: ClassVar[str] = "tpm"
    model: str | None = attribute(
        "model", Choice("tpm-tis tpm-crb tpm-spapr spapr-tpm-proxy", silent="default")
    )
    backend: TpmBackend | None = child(TpmBackend)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.backend is None:
            raise XmlError("missing TPM device backend", domain=VIR_FROM_DOMAIN)
        if len(source.children["backend"]) > 1:
            raise XmlError("only one TPM backend is supported", domain=VIR_FROM_DOMAIN)


@attrs.define
class Panic(Model):
    """How the guest's kernel reports that it died."""

    TAG: ClassVar[str] = "panic"
    model: str | None = attribute(
        "model",
        Choice(
            "isa pseries hyperv s390",
            silent="default",
            refusal=unsupported("unknown panic model '{}'"),
        ),
    )
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
    """An IOMMU for the guest's devices."""

    TAG: ClassVar[str] = "iommu"
    model: str = attribute("model", Choice("intel smmuv3 virtio"), required=True)
    driver: IommuDriver | None = child(IommuDriver)
    info: DeviceInfo = inline(DeviceInfo)

    def complete(self, source: Source, how: Reading) -> None:
        if self.driver == IommuDriver():
            self.driver = None
        if self.model != "intel" and self.driver is not None:
            raise XmlError(
                f"iommu model '{self.model}' doesn't support additional attributes", domain=VIR_FROM_DOMAIN
            )


@attrs.define
class VsockCid(Model):
    TAG: ClassVar[str] = "cid"
    auto: bool | None = attribute("auto", yes_no())
    address: int | None = attribute("address", Integer(zero="refused"))

    def complete(self, source: Source, how: Reading) -> None:
        if self.address is not None and self.address < 3:
            raise ConfigUnsupported("guest CIDs must be >= 3", domain=VIR_FROM_DOMAIN)


@attrs.define
class Vsock(Model):
    """Sockets between guest and host."""

    TAG: ClassVar[str] = "vsock"
    KEEP: ClassVar[bool] = True
    model: str | None = attribute("model", Choice(_VIRTIO, silent="default"))
    cid: VsockCid | None = child(VsockCid)
    info: DeviceInfo = inline(DeviceInfo)
    driver: VirtioDriver | None = child(VirtioDriver)

    def complete(self, source: Source, how: Reading) -> None:
        self.cid = self.cid or VsockCid()
        if self.cid.auto is None:
            self.cid.auto = self.cid.address is None


_USB_VERSION = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\Z")


@attrs.define
class UsbFilter(Model):
    TAG: ClassVar[str] = "usbdev"
    usb_class: int | None = attribute("class", Integer(base=0, style="#04x", signed=True))
    vendor: int | None = attribute("vendor", Integer(base=0, style="#06x", signed=True))
    product: int | None = attribute("product", Integer(base=0, style="#06x", signed=True))
    version: str | None = attribute("version")
    allow: bool = attribute("allow", yes_no(), required=True)

    def complete(self, source: Source, how: Reading) -> None:
        if self.version is None or self.version == "-1":
            self.version = None
            return
        match = _USB_VERSION.match(self.version)
        if match is None:
            raise XmlError(f"Cannot parse USB device version {self.version}", domain=VIR_FROM_DOMAIN)
        self.version = f"{int(match[1])}.{match[2]:0<2}"

    def fill(self, tag: Tag, how: Printing) -> None:
        for name, value, digits in (
            ("class", self.usb_class, 2),
            ("vendor", self.vendor, 4),
            ("product", self.product, 4),
        ):
            if value is not None and value >= 0:
                tag.set(name, f"0x{value:0{digits}X}")
        tag.set("version", self.version)
        tag.set("allow", "yes" if self.allow else "no")


@attrs.define
class RedirFilter(Model):
    """Which USB devices of the viewer's machine may be redirected."""

    TAG: ClassVar[str] = "redirfilter"
    rules: list[UsbFilter] = children(UsbFilter)
