"""``<controller>``: the buses that devices are plugged into."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported, XmlDetail
from remotevirt.xml.domain.address import DeviceInfo, Master
from remotevirt.xml.domain.disk import VirtioOptions
from remotevirt.xml.fields import Model, Reading, Source, attribute, child, inline, leaf
from remotevirt.xml.sizes import sized
from remotevirt.xml.values import Choice, Integer, Text, on_off, xml_error

__all__ = ["Controller", "check_usb"]

TYPES = "ide fdc scsi sata virtio-serial ccid usb pci xenbus isa"
_SCSI = (
    "auto buslogic lsilogic lsisas1068 vmpvscsi ibmvscsi virtio-scsi lsisas1078 virtio-transitional"
    " virtio-non-transitional ncr53c90 dc390 am53c974"
)
_USB = (
    "piix3-uhci piix4-uhci ehci ich9-ehci1 ich9-uhci1 ich9-uhci2 ich9-uhci3 vt82c686b-uhci pci-ohci"
    " nec-xhci qusb1 qusb2 qemu-xhci none"
)
_PCI = (
    "pci-root pcie-root pci-bridge dmi-to-pci-bridge pcie-to-pci-bridge pcie-root-port"
    " pcie-switch-upstream-port pcie-switch-downstream-port pci-expander-bus pcie-expander-bus"
)
_COMPANIONS = {"ich9-uhci1": 0, "ich9-uhci2": 2, "ich9-uhci3": 4}
"""First ports of the controllers that only work beside another."""

_NATURAL = Integer(signed=True, natural=True)
_MODELS = {
    "scsi": frozenset(_SCSI.split()),
    "usb": frozenset(_USB.split()),
    "pci": frozenset(_PCI.split()),
    "ide": frozenset(["piix3", "piix4", "ich6"]),
    "virtio-serial": frozenset(["virtio", "virtio-transitional", "virtio-non-transitional"]),
}


@attrs.define
class ControllerDriver(Model):
    TAG: ClassVar[str] = "driver"
    queues: int | None = attribute("queues", Integer(zero="silent"))
    cmd_per_lun: int | None = attribute("cmd_per_lun", Integer(zero="silent"))
    max_sectors: int | None = attribute("max_sectors", Integer(zero="silent"))
    ioeventfd: bool | None = attribute("ioeventfd", on_off())
    iothread: int | None = attribute("iothread", Integer(zero="silent"))
    virtio: VirtioOptions = inline(VirtioOptions)


@attrs.define
class PciModel(Model):
    TAG: ClassVar[str] = "model"
    name: str | None = attribute(
        "name",
        Choice(
            "pci-bridge i82801b11-bridge ioh3420 x3130-upstream xio3130-downstream pxb pxb-pcie"
            " pcie-root-port spapr-pci-host-bridge pcie-pci-bridge",
            silent="none",
        ),
    )


_BYTE = Integer(base=0, signed=True)


@attrs.define
class PciTarget(Model):
    TAG: ClassVar[str] = "target"
    chassis_nr: int | None = attribute("chassisNr", _BYTE)
    chassis: int | None = attribute("chassis", _BYTE)
    port: int | None = attribute("port", Integer(base=0, signed=True, style="#x"))
    bus_nr: int | None = attribute("busNr", _BYTE)
    index: int | None = attribute("index", _BYTE)
    hotplug: bool | None = attribute("hotplug", on_off())
    node: int | None = leaf("node", Integer(signed=True, refusal=xml_error("invalid NUMA node in target")))

    def complete(self, source: Source, how: Reading) -> None:
        for name, label, low in (
            ("chassis_nr", "chassisNr", 1),
            ("chassis", "chassis", 0),
            ("port", "port", 0),
            ("bus_nr", "busNr", 1),
            ("index", "target index", 0),
        ):
            value = getattr(self, name)
            high = {"bus_nr": 254, "index": 30}.get(name, 255)
            if value is not None and not low <= value <= high:
                raise ConfigUnsupported(
                    f"PCI controller {label} '{value}' out of range - must be {low}-{high}",
                    domain=VIR_FROM_DOMAIN,
                )


@attrs.define
class Controller(Model):
    """One controller."""

    TAG: ClassVar[str] = "controller"
    type: str = attribute("type", Choice(TYPES), default="ide")
    index: int | None = attribute("index", _NATURAL)
    model: str | None = attribute("model", Text(empty=True))
    ports: int | None = attribute("ports", _NATURAL)
    vectors: int | None = attribute("vectors", _NATURAL)
    max_grant_frames: int | None = attribute("maxGrantFrames", _NATURAL)
    max_event_channels: int | None = attribute("maxEventChannels", _NATURAL)
    pci_model: PciModel | None = child(
        PciModel, too_many=xml_error("Multiple <model> elements in controller definition not allowed")
    )
    target: PciTarget | None = child(
        PciTarget, too_many=xml_error("Multiple <target> elements in controller definition not allowed")
    )
    driver: ControllerDriver | None = child(ControllerDriver)
    info: DeviceInfo = inline(DeviceInfo)
    pcihole64: int | None = sized("pcihole64")

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        if source.get("type") == "usb" and source.get("model") == "none":
            for tag in ("alias", "master", "acpi", "address"):
                source.children.pop(tag, None)  # what is not there has no place
        return super().read_source(source, how)

    def complete(self, source: Source, how: Reading) -> None:
        kind = self.type
        if self.model is not None and self.model not in _MODELS.get(kind, frozenset()):
            raise ConfigUnsupported(f"Unknown model type '{self.model}'", domain=VIR_FROM_DOMAIN)
        if kind not in {"usb", "virtio-serial"}:
            self.ports = None
        if self.model in _COMPANIONS and self.info.master is None:
            self.info.master = Master()
            self.info.master.startport = _COMPANIONS[self.model]
        if kind != "virtio-serial":
            self.vectors = None
        if kind != "xenbus":
            self.max_grant_frames = self.max_event_channels = None
        if kind != "pci":
            self.pci_model = self.target = self.pcihole64 = None
        elif self.model not in {"pci-root", "pcie-root"}:
            self.pcihole64 = None


def check_usb(controllers: list[Controller]) -> None:
    """USB is either there, with a controller that stands alone, or it is turned off."""
    usb = [controller for controller in controllers if controller.type == "usb"]
    if len(usb) > 1 and any(controller.model == "none" for controller in usb):
        raise XmlDetail(
            "Can't add another USB controller: USB is disabled for this domain", domain=VIR_FROM_DOMAIN
        )
    if usb and all(controller.info.master is not None for controller in usb):
        raise XmlDetail("No master USB controller specified", domain=VIR_FROM_DOMAIN)
