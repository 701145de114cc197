"""What a guest's command line is made from: its configuration, its emulator, and the place where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs

from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ConfigUnsupported, InternalError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.address import (
    Address,
    IsaAddress,
    PciAddress,
    PlainAddress,
    UsbAddress,
    VirtioSerialAddress,
)
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.disk import VirtioOptions

__all__ = ["Setting", "Surroundings", "alias_of", "unsupported", "virtio_options"]


def unsupported(text: str) -> ConfigUnsupported:
    """Return the error that refuses a configuration which cannot be run here."""
    return ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)


@attrs.frozen
class Surroundings:
    """Where a guest runs.

    Attributes:
        folder: the guest's private folder, which only it and the daemon may enter: secrets, caches.
        monitor: the socket of the guest's monitor; None for one in its folder.
        channel_folder: where the sockets of channels without a path of their own are made.
        memory_folder: where memory that is backed by files lives.
        vnc_listen: the address of screens that do not say where they listen.
        vnc_ports: ports chosen for screens that left the choice to the driver, by the screen's position.
        vnc_others: how many displays after the chosen one QEMU may try, where the choice was left to us.
        websocket_ports: the same of web sockets.
        hugepages: mount points of huge page file systems, by the size of a page in KiB.
        sandbox: restrict the system calls of the guest's process.
        preview: the command is only shown: chains of images that are not known are left to QEMU.
        path: what the guest's process gets as ``PATH``.
        elsewhere: names of fields of the domain that somebody else carries out, such as ``cputune``.
    """

    folder: str
    monitor: str | None = None
    channel_folder: str | None = None
    memory_folder: str | None = None
    vnc_listen: str = "127.0.0.1"
    vnc_ports: Mapping[int, int] = attrs.field(factory=dict)
    vnc_others: int = 0
    websocket_ports: Mapping[int, int] = attrs.field(factory=dict)
    hugepages: Mapping[int, str] = attrs.field(factory=dict)
    sandbox: bool = True
    preview: bool = False
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    elsewhere: frozenset[str] = frozenset()


def alias_of(info: Any, what: str) -> str:
    """Return the alias of a device, which completing the configuration has given it."""
    alias: str | None = info.alias
    if alias is None:
        raise InternalError(f"{what} device lacks alias", domain=c.VIR_FROM_QEMU)
    return alias


def virtio_options(options: VirtioOptions | None) -> dict[str, Any]:
    """Return the switches that any virtio device has."""
    if options is None:
        return {}
    pairs = {
        "iommu_platform": options.iommu,
        "ats": options.ats,
        "packed": options.packed,
        "page-per-vq": options.page_per_vq,
    }
    return {key: value for key, value in pairs.items() if value is not None}


_TRANSITIONS = {"virtio-transitional": "-transitional", "virtio-non-transitional": "-non-transitional"}


@attrs.define(slots=False)
class Setting:
    """A guest to be, with what the builders ask again and again."""

    model: DomainModel
    emulator: Emulator
    surroundings: Surroundings

    @property
    def arch(self) -> str:
        """The guest's architecture, in libvirt's words."""
        kind = self.model.os.kind
        return (kind.arch if kind is not None else None) or self.emulator.arch

    @property
    def is_x86(self) -> bool:
        """Whether it is a PC."""
        return self.arch in {"x86_64", "i686"}

    @cached_property
    def machine(self) -> str:
        """The canonical name of the machine type."""
        asked = self.model.os.kind.machine if self.model.os.kind is not None else None
        found = self.emulator.machine(asked)
        if found is None:
            raise unsupported(f"Emulator '{self.emulator.path}' does not support machine type '{asked}'")
        return found.name

    @property
    def is_q35(self) -> bool:
        """Whether the machine is of the q35 family."""
        return self.is_x86 and ("q35" in self.machine)

    @property
    def is_i440fx(self) -> bool:
        """Whether the machine is of the i440FX family."""
        return self.is_x86 and (self.machine.startswith("pc-i440fx") or self.machine == "pc")

    @property
    def is_virt(self) -> bool:
        """Whether the machine is ARM's ``virt``."""
        return self.machine == "virt" or self.machine.startswith("virt-")

    @property
    def iothreads(self) -> list[int]:
        """The numbers of the IO threads: those that the domain names, or as many as it wants."""
        named = self.model.iothread_ids
        if named is not None:
            return [one.id for one in named.threads]
        return list(range(1, (self.model.iothreads or 0) + 1))

    def controller(self, kind: str, index: int | None) -> Controller:
        """Return a controller that an address names. Raises VirError if there is none."""
        for one in self.model.devices.controllers:
            if one.type == kind and (one.index or 0) == (index or 0):
                return one
        raise InternalError(
            f"Unable to find a '{kind}' controller with index {index}", domain=c.VIR_FROM_QEMU
        )

    def need(self, driver: str, text: str) -> str:
        """Return a device's type after checking that the emulator has it."""
        if self.emulator.devices and driver not in self.emulator.devices:
            raise unsupported(text)
        return driver

    def virtio(self, what: str, model: str | None, address: Address | None) -> str:
        """Return the QOM type of a virtio device.

        Args:
            what: it is, such as ``blk``.
            model: its model, None for the ordinary one.
            address: where it is, which tells the transport.
        """
        if isinstance(address, PlainAddress) and address.type == "virtio-mmio":
            return f"virtio-{what}-device"
        return f"virtio-{what}-pci{_TRANSITIONS.get(model or '', '')}"

    def place(self, address: Address | None) -> dict[str, Any]:
        """Return the arguments that put a device where its address says."""
        if address is None:
            return {}
        if isinstance(address, PciAddress):
            return self._pci(address)
        if isinstance(address, UsbAddress):
            bus = f"{alias_of(self.controller('usb', address.bus).info, 'usb controller')}.0"
            return {"bus": bus, "port": address.port} if address.port is not None else {"bus": bus}
        if isinstance(address, VirtioSerialAddress):
            alias = alias_of(self.controller("virtio-serial", address.controller).info, "controller")
            return {"bus": f"{alias}.{address.bus}", "nr": address.port}
        if isinstance(address, IsaAddress):
            pairs = {"iobase": address.iobase, "irq": address.irq}
            return {key: value for key, value in pairs.items() if value is not None}
        if isinstance(address, PlainAddress) and address.type in {"virtio-mmio", "unassigned"}:
            return {}
        raise unsupported(f"address type '{getattr(address, 'type', '')}' is not supported")

    def _pci(self, address: PciAddress) -> dict[str, Any]:
        place = address.place
        if place is None:
            return {}
        if place.domain:
            raise unsupported("Only PCI device addresses with domain=0 are supported")
        if address.zpci is not None:
            raise unsupported("This QEMU doesn't support zPCI devices")
        found: dict[str, Any] = {"bus": alias_of(self.controller("pci", place.bus).info, "pci controller")}
        if address.multifunction is not None:
            found["multifunction"] = address.multifunction
        function = f".{place.function:#x}" if place.function else ""
        return {**found, "addr": f"{place.slot:#x}{function}"}

    @cached_property
    def boot_orders(self) -> Mapping[int, int]:
        """The boot order of devices, by their identity, where the domain says it for kinds of them."""
        devices = self.model.devices
        orders: dict[int, int] = {}
        kinds = {"hd": "disk", "cdrom": "cdrom", "fd": "floppy"}
        for number, boot in enumerate(self.model.os.boot, 1):
            if boot.dev == "network":
                first: Any = next(iter(devices.interfaces), None)
            else:
                first = next((disk for disk in devices.disks if disk.device == kinds[boot.dev]), None)
            if first is not None:
                orders.setdefault(id(first), number)
        return orders

    def boot_index(self, device: Any) -> dict[str, Any]:
        """Return the argument that gives a disk or network card its place in the boot order."""
        if device.info.boot is not None:
            return {"bootindex": device.info.boot.order}
        order = self.boot_orders.get(id(device))
        return {} if order is None else {"bootindex": order}
