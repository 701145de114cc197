"""Which kind of PCI slot a device needs, and in which order devices get theirs."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.chardev import Serial
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.disk import Disk
from remotevirt.xml.domain.filesystem import Filesystem, SharedMemory
from remotevirt.xml.domain.hostdev import HostDevice
from remotevirt.xml.domain.interface import Interface
from remotevirt.xml.domain.media import Input, Sound, Video
from remotevirt.xml.domain.memory_device import MemoryDevice
from remotevirt.xml.domain.small import Iommu, MemoryBalloon, RandomSource, Vsock, Watchdog

__all__ = ["Connect", "needs_pci", "pci_devices", "slot_kind"]


class Connect(enum.Flag):
    """What plugs into what: a bus offers some of these, a device needs one."""

    NOTHING = 0
    PCI = enum.auto()
    PCIE = enum.auto()
    PCI_BRIDGE = enum.auto()
    ROOT_PORT = enum.auto()
    SWITCH_UP = enum.auto()
    SWITCH_DOWN = enum.auto()
    DMI_BRIDGE = enum.auto()
    PCIE_TO_PCI = enum.auto()
    EXPANDER = enum.auto()
    PCIE_EXPANDER = enum.auto()
    HOTPLUG = enum.auto()
    SHARED_SLOT = enum.auto()
    """The device is content with one function of a slot where others of its kind are."""

    KINDS = (
        PCI
        | PCIE
        | PCI_BRIDGE
        | ROOT_PORT
        | SWITCH_UP
        | SWITCH_DOWN
        | DMI_BRIDGE
        | PCIE_TO_PCI
        | EXPANDER
        | PCIE_EXPANDER
    )


OLD = Connect.PCI | Connect.HOTPLUG
EXPRESS = Connect.PCIE | Connect.HOTPLUG

OF_CONTROLLER = {
    "pci-bridge": Connect.PCI_BRIDGE,
    "pci-expander-bus": Connect.EXPANDER,
    "dmi-to-pci-bridge": Connect.DMI_BRIDGE,
    "pcie-to-pci-bridge": Connect.PCIE_TO_PCI,
    "pcie-root-port": Connect.ROOT_PORT | Connect.SHARED_SLOT,
    "pcie-switch-upstream-port": Connect.SWITCH_UP,
    "pcie-switch-downstream-port": Connect.SWITCH_DOWN,
    "pcie-expander-bus": Connect.PCIE_EXPANDER,
}
"""What the PCI controllers themselves need."""

OLD_CARDS = frozenset(
    [
        "rtl8139",
        "e1000",
        "netfront",
        "spapr-vlan",
        "lan9118",
        "smc91c111",
        "vlance",
        "vmxnet",
        "vmxnet2",
        "vmxnet3",
        "Am79C970A",
        "82540EM",
        "82545EM",
        "82543GC",
    ]
)
"""Network cards known to be older than PCI Express; of others libvirt thinks that they are not."""


def _virtio(model: str | None, express: bool) -> Connect:
    """A virtio device is what its bus is, except one that shall look like the first ones."""
    return EXPRESS if express and model != "virtio-transitional" else OLD


def slot_kind(device: Any, express: bool) -> Connect:
    """Return what slot a device needs.

    Args:
        device: one that :func:`needs_pci`.
        express: the machine's root is PCI Express.
    """
    match device:
        case Controller():
            return _of_controller(device, express)
        case Interface():
            return _of_interface(device, express)
        case Filesystem():
            driver = device.driver.type if device.driver is not None else None
            if driver not in {None, "path", "handle", "virtiofs"}:
                return Connect.NOTHING
            return _virtio(device.model, express)
        case Sound():
            return OLD if device.model in {"es1370", "ac97", "ich6", "ich9"} else Connect.NOTHING
        case Watchdog():
            return OLD if device.model == "i6300esb" else Connect.NOTHING
        case Video():
            kind = device.model.type if device.model else None
            return EXPRESS if kind in {"virtio", "bochs"} and express else OLD
        case SharedMemory() | Serial():
            return OLD
        case Iommu():
            return Connect.PCIE
        case HostDevice():
            return EXPRESS if express else OLD
        case MemoryBalloon() if device.model == "xen":
            return Connect.NOTHING
        case MemoryDevice():
            return EXPRESS if express else OLD
    return _virtio(device.model, express)


def _of_controller(controller: Controller, express: bool) -> Connect:
    kind, model = controller.type, controller.model
    if kind == "pci":
        return OF_CONTROLLER.get(model or "", Connect.NOTHING)
    if kind == "virtio-serial":
        return _virtio(model, express)
    if kind == "scsi":
        if model in {"virtio-scsi", "virtio-transitional", "virtio-non-transitional"}:
            return _virtio(model, express)
        return OLD
    if kind == "usb" and model in {"nec-xhci", "qemu-xhci"} and express:
        return EXPRESS
    return OLD


def _of_interface(interface: Interface, express: bool) -> Connect:
    if interface.model == "usb-net":
        return Connect.NOTHING
    if interface.is_virtio():
        return _virtio(interface.model, express)
    return OLD if interface.model in OLD_CARDS or not express else EXPRESS


def needs_pci(device: Any) -> bool:
    """Whether a device sits in a PCI slot, where nobody has given it another address."""
    match device:
        case Disk():
            return device.bus == "virtio"
        case Controller():
            if device.type == "pci":
                return device.model not in {"pci-root", "pcie-root"}
            return device.type not in {"fdc", "ccid", "isa", "xenbus"} and device.model not in {
                "none",
                "ncr53c90",
            }
        case Sound():
            return device.model not in {"sb16", "pcspk", "usb"}
        case Watchdog():
            return device.model == "i6300esb"
        case HostDevice():
            if device.mode != "subsystem":
                return False
            return device.type in {"pci", "scsi_host"} or (
                device.type == "mdev" and device.model == "vfio-pci"
            )
        case MemoryBalloon():
            return device.model != "none"
        case Video():
            return device.model is not None and device.model.type not in {"none", "ramfb"}
        case Input():
            return device.bus == "virtio"
        case Serial():
            return device.target is not None and device.target.type == "pci-serial"
        case MemoryDevice():
            return device.model in {"virtio-mem", "virtio-pmem"}
        case Iommu():
            return device.model == "virtio"
    return isinstance(device, (Filesystem, Interface, RandomSource, SharedMemory, Vsock))


def pci_devices(model: DomainModel) -> Iterator[Any]:
    """All devices that sit in PCI slots, in the order in which those without an address get one.

    Controllers of PCI itself come first: they make the slots.
    """
    devices = model.devices
    everything: tuple[Any, ...] = (
        *(one for one in devices.controllers if one.type == "pci"),
        *devices.filesystems,
        *(one for one in devices.interfaces if one.type != "hostdev"),
        *devices.sounds,
        *(one for one in devices.controllers if one.type != "pci"),
        *devices.disks,
        *(one for one in devices.interfaces if one.type == "hostdev"),
        *devices.hostdevs,
        *([devices.memballoon] if devices.memballoon else []),
        *devices.rngs,
        *devices.watchdogs,
        *devices.videos,
        *devices.shmems,
        *devices.inputs,
        *devices.serials,
        *([devices.vsock] if devices.vsock else []),
        *devices.memories,
        *([devices.iommu] if devices.iommu else []),
    )
    return (device for device in everything if needs_pci(device))
