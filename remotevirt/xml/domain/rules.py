"""What the checks of a document's devices share."""

from __future__ import annotations

from typing import Any

from remotevirt.stubs.constants import VIR_FROM_DOMAIN
from remotevirt.stubs.errors import ConfigUnsupported
from remotevirt.xml.domain.disk import VirtioOptions

__all__ = ["check_place", "check_virtio", "unsupported"]


def unsupported(text: str) -> ConfigUnsupported:
    """A configuration that no hypervisor takes."""
    return ConfigUnsupported(text, domain=VIR_FROM_DOMAIN)


def check_place(info: Any) -> None:
    """Only devices of the host go without a place on a bus."""
    if getattr(info.address, "type", None) == "unassigned":
        raise unsupported("address of type 'unassigned' is supported only for hostdevs")


def check_virtio(options: VirtioOptions, virtio: bool) -> None:
    """Virtio's switches are for virtio devices."""
    if virtio:
        return
    for name in ("iommu", "ats", "packed", "page_per_vq"):
        if getattr(options, name) is not None:
            words = name if name == "page_per_vq" else f"{name} driver"
            raise unsupported(f"{words} option is only supported for virtio devices")
