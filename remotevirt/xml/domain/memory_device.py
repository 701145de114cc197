"""``<memory>`` among the devices: DIMMs, NVDIMMs and virtio memory. All sizes are KiB."""

# ruff: noqa: RUF009 (the calls declare fields)
from __future__ import annotations

from typing import ClassVar

import attrs

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import XmlDetail, XmlError
from remotevirt.xml.bitmap import CpuSet
from remotevirt.xml.domain.address import DeviceInfo
from remotevirt.xml.fields import Model, Reading, Source, attribute, child, flag, inline, leaf
from remotevirt.xml.sizes import sized
from remotevirt.xml.values import Choice, Integer, Uuid, xml_error, yes_no

__all__ = ["MemoryDevice"]


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

    def complete(self, source: Source, how: Reading) -> None:
        if self.target is None:
            raise XmlError("missing <target> element for <memory> device", domain=VIR_FROM_DOMAIN)
        if self.model != "virtio-mem":
            self.target.block = self.target.requested = None
        else:
            self.target.requested = self.target.requested or 0
            if self.target.requested > self.target.size:
                raise XmlDetail(
                    f"requested size must be smaller than or equal to @size ({self.target.size}KiB)",
                    domain=VIR_FROM_DOMAIN,
                )
        self.target.current = None if not how.live else self.target.current
        if self.model != "nvdimm":
            self.target.readonly = False
            self.target.label = None
