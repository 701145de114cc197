"""Which port of which USB bus each device has: free ones at the controllers first, then those of hubs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from remotevirt.drivers.qemu.complete.board import unsupported
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.domain import Devices, DomainModel
from remotevirt.xml.domain.address import UsbAddress
from remotevirt.xml.domain.controller import Controller
from remotevirt.xml.domain.media import Hub

__all__ = ["hot_plug_usb", "needs_usb", "place_usb"]

HUB_PORTS = 8
MAX_DEPTH = 3
"""Hubs between a controller and a device: a port of libvirt's addresses has at most four numbers."""

_PORTS = {
    "piix3-uhci": 2,
    "piix4-uhci": 2,
    "vt82c686b-uhci": 2,
    "ehci": 6,
    "ich9-ehci1": 6,
    "pci-ohci": 3,
    "nec-xhci": 4,
    "qemu-xhci": 4,
    "qusb1": 4,
    "qusb2": 4,
}
"""Ports of the controllers; companions have none of their own."""


@attrs.define
class Ports:
    """The ports of a controller or hub: taken or not, and the hubs behind some."""

    taken: list[bool]
    hubs: dict[int, Ports] = attrs.field(factory=dict)

    def free(self, depth: int = 0) -> str | None:
        """Return the first free port, of this before those of hubs; None if all are taken."""
        for number, taken in enumerate(self.taken, 1):
            if not taken:
                return str(number)
        if depth < MAX_DEPTH:
            for number, hub in sorted(self.hubs.items()):
                port = hub.free(depth + 1)
                if port is not None:
                    return f"{number}.{port}"
        return None

    def count(self) -> int:
        """How many ports there are, those of hubs too."""
        return len(self.taken) + sum(hub.count() for hub in self.hubs.values())


def needs_usb(device: Any) -> bool:
    """Whether a device sits on USB."""
    tag = device.TAG
    if tag in {"hub", "redirdev"}:
        return True
    if tag == "hostdev":
        return bool(device.mode == "subsystem" and device.type == "usb")
    if tag in {"disk", "input"}:
        return bool(device.bus == "usb")
    if tag == "controller":
        return bool(device.type == "ccid")
    if tag == "serial":
        return device.target is not None and device.target.type == "usb-serial"
    return tag == "sound" and bool(device.model == "usb")


def _devices(model: DomainModel) -> Iterator[Any]:
    """All devices on USB but hubs, in libvirt's order."""
    devices = model.devices
    everything: tuple[Any, ...] = (
        *devices.hostdevs,
        *devices.disks,
        *devices.controllers,
        *devices.inputs,
        *devices.serials,
        *devices.sounds,
        *devices.redirdevs,
    )
    return (device for device in everything if needs_usb(device))


def _wants(device: Any) -> bool:
    address = device.info.address
    return address is None or (isinstance(address, UsbAddress) and address.port is None)


@attrs.define
class UsbBuses:
    """The USB buses of a guest, by number."""

    buses: dict[int, Ports]
    _open: list[int] = attrs.field(init=False)
    """The buses that may have a free port, in order: what is taken stays taken."""

    def __attrs_post_init__(self) -> None:
        self._open = sorted(self.buses)

    @classmethod
    def of(cls, model: DomainModel) -> UsbBuses:
        """Return the buses of the controllers that there are, with nothing on them."""
        found: dict[int, Ports] = {}
        for controller in model.devices.controllers:
            if controller.type == "usb" and controller.model != "none" and controller.info.master is None:
                found[controller.index or 0] = Ports([False] * _count(controller))
        return cls(found)

    def take(self, bus: int, port: str, *, hub: bool) -> None:
        """Take a port that is told; raises XmlError if it is taken, or there is none such."""
        ports = self.buses.get(bus)
        if ports is None:
            raise _wrong(f"Missing USB bus {bus}")
        *way, last = (int(number) for number in port.split("."))
        for number in way:
            inner = ports.hubs.get(number)
            if inner is None:
                raise _wrong(f"there is no hub at port {number} in USB address bus: {bus} port: {port}")
            ports = inner
        if not 1 <= last <= len(ports.taken):
            raise _wrong(f"requested USB port {port} not present on USB bus {bus}")
        if ports.taken[last - 1]:
            raise _wrong(f"Duplicate USB address bus {bus} port {port}")
        ports.taken[last - 1] = True
        if hub:
            ports.hubs[last] = Ports([False] * HUB_PORTS)

    def give(self, device: Any) -> None:
        """Give a device the next free port; raises XmlError if there is none."""
        told = device.info.address
        wanted = told.bus if isinstance(told, UsbAddress) else None
        for bus in self._open if wanted is None else [wanted]:
            ports = self.buses.get(bus)
            port = ports.free() if ports is not None else None
            if port is not None:
                self.take(bus, port, hub=device.TAG == "hub")
                address = UsbAddress()
                address.bus, address.port = bus, port
                device.info.address = address
                self._open = self._open[self._open.index(bus) :] if wanted is None else self._open
                return
        if wanted is not None and wanted not in self.buses:
            raise _wrong(f"Missing USB bus {wanted}")
        raise _wrong("No free USB ports")

    def reserve(self, model: DomainModel) -> None:
        """Take what has an address already: hubs before what is behind them."""
        hubs: list[UsbAddress] = []
        for hub in model.devices.hubs:
            if isinstance(hub.info.address, UsbAddress) and hub.info.address.port is not None:
                hubs.append(hub.info.address)
        for place in sorted(hubs, key=lambda one: (one.port or "").count(".")):
            self.take(place.bus, place.port or "", hub=True)
        for device in _devices(model):
            address = device.info.address
            if isinstance(address, UsbAddress) and address.port is not None:
                self.take(address.bus, address.port, hub=False)


def _count(controller: Controller) -> int:
    return controller.ports or _PORTS.get(controller.model or "", 0)


def _check_indexes(devices: Devices) -> None:
    """Refuse two USB controllers with one number, but for companions."""
    seen: set[int | None] = set()
    for controller in devices.controllers:
        if controller.type == "usb" and controller.info.master is None:
            if controller.index in seen:
                raise _wrong(f"Duplicate USB controllers with index {controller.index}")
            seen.add(controller.index)


def place_usb(model: DomainModel) -> None:
    """Give an address to every USB device that has none, adding hubs where ports run out. Raises VirError."""
    _assign(model)
    _check_indexes(model.devices)


def _assign(model: DomainModel) -> None:
    devices = list(_devices(model))
    if not devices and not model.devices.hubs:
        return
    buses = UsbBuses.of(model)
    if not buses.buses:
        known = model.devices.hubs or any(one.bus == "usb" for one in model.devices.inputs)
        if known and any(one.type == "usb" for one in model.devices.controllers):
            # USB is off on purpose, of which all drivers have words of their own.
            return
        raise unsupported("USB is disabled for this domain, but USB devices are present in the domain XML")
    buses.reserve(model)
    wanting = [device for device in devices if _wants(device)]
    ports = sum(one.count() for one in buses.buses.values())
    ports += (HUB_PORTS - 1) * sum(_wants(hub) for hub in model.devices.hubs)
    if len(devices) > ports:
        for _ in range(-(-(len(devices) - ports + 1) // (HUB_PORTS - 1))):
            hub = Hub()
            hub.type = "usb"
            model.devices.hubs.append(hub)
    for hub in model.devices.hubs:
        if _wants(hub):
            buses.give(hub)
    for device in wanting:
        buses.give(device)


def hot_plug_usb(model: DomainModel, device: Any) -> None:
    """Give a device that is added to a guest a free port, or check the one it asks for. Raises VirError."""
    buses = UsbBuses.of(model)
    if not buses.buses:
        raise unsupported("USB is disabled for this domain, but USB devices are present in the domain XML")
    buses.reserve(model)
    if _wants(device):
        buses.give(device)
    else:
        buses.take(device.info.address.bus, device.info.address.port, hub=device.TAG == "hub")


def _wrong(text: str) -> XmlError:
    return XmlError(text, domain=c.VIR_FROM_DOMAIN)
