"""``<memory>`` among the devices: DIMMs, NVDIMMs and virtio memory. All sizes are KiB."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar, Final, Self

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.bitmap import CpuSet
from remotevirt.xml.domain.address import DeviceInfo
from remotevirt.xml.fields import Model, Reading, Source, attribute, child, flag, inline, leaf
from remotevirt.xml.sizes import sized
from remotevirt.xml.values import Choice, Integer, Uuid, xml_error, yes_no

__all__ = ["MemoryDevice", "MemoryTarget"]

MIN_LABEL: Final = 128
"""The least size of an NVDIMM's label area, in KiB: that of the NVDIMM namespace specification."""


@attrs.define
class MemorySource(Model):
    TAG: ClassVar[str] = "source"
    nodemask: str | None = leaf("nodemask", CpuSet())
    pagesize: int | None = sized("pagesize", path="./pagesize[1]")
    path: str | None = leaf("path")
    alignsize: int | None = sized("alignsize", path="./alignsize[1]")
    pmem: bool = flag("pmem")


@attrs.define
class MemoryLabel(Model):
    TAG: ClassVar[str] = "label"
    size: int | None = sized("size", path="./label/size[1]")


@attrs.define
class MemoryTarget(Model):
    """How large a memory device is and where the guest has it; sizes in KiB."""

    TAG: ClassVar[str] = "target"
    size: int = sized("size", path="./size", required=True)
    node: int | None = leaf(
        "node", Integer(refusal=xml_error("invalid or missing value of memory device node"))
    )
    label: MemoryLabel | None = child(MemoryLabel)
    block: int | None = sized("block", path="./block[1]")
    requested: int | None = sized("requested", path="./requested[1]")
    current: int | None = sized("current", path="./current[1]")
    readonly: bool = flag("readonly")


@attrs.define
class MemoryDevice(Model):
    """A piece of memory that can be plugged."""

    TAG: ClassVar[str] = "memory"
    model: str = attribute("model", Choice("dimm nvdimm virtio-pmem virtio-mem sgx-epc"), required=True)
    access: str | None = attribute("access", Choice("shared private", silent="default"))
    discard: bool | None = attribute("discard", yes_no())
    uuid: bytes | None = leaf("uuid", Uuid(refusal=xml_error("malformed uuid element")))
    source: MemorySource | None = child(MemorySource)
    target: MemoryTarget | None = child(MemoryTarget)
    info: DeviceInfo = inline(DeviceInfo)

    @classmethod
    def read_source(cls, source: Source, how: Reading) -> Self:
        if source.get("model") != "nvdimm":  # no other has any, and it is not looked at
            source.children.pop("uuid", None)
        return super().read_source(source, how)

    def complete(self, source: Source, how: Reading) -> None:
        if self.target is None:
            raise XmlError("missing <target> element for <memory> device", domain=VIR_FROM_DOMAIN)
        if self.model != "virtio-mem":
            self.target.block = self.target.requested = None
        else:
            self.target.requested = self.target.requested or 0
        if self.model == "virtio-pmem":
            self.access = self.access or "shared"
        if self.source is not None:
            self._keep_source(self.source)
        self.target.current = None if not how.live else self.target.current
        if self.model != "nvdimm":
            self.target.readonly = False
            self.target.label = None
        else:
            self._check_label(self.target)

    def _keep_source(self, source: MemorySource) -> None:
        if self.model not in {"nvdimm", "virtio-pmem"}:
            source.path = None
        if self.model != "nvdimm":
            source.alignsize, source.pmem = None, False
        if self.model not in {"dimm", "virtio-mem"}:
            source.pagesize = None
            if self.model != "sgx-epc":
                source.nodemask = None

    @staticmethod
    def _check_label(target: MemoryTarget) -> None:
        label = (target.label.size if target.label is not None else None) or 0
        if label and label < MIN_LABEL:
            raise XmlError("nvdimm label must be at least 128KiB", domain=VIR_FROM_DOMAIN)
        if label >= target.size:
            raise XmlError("label size must be smaller than NVDIMM size", domain=VIR_FROM_DOMAIN)
