"""Addresses: the ports of virtio serial controllers, the slots of memory, PCI and USB."""

from __future__ import annotations

from typing import Any

from remotevirt.drivers.qemu.complete.additions import add_controller
from remotevirt.drivers.qemu.complete.connect import needs_pci
from remotevirt.drivers.qemu.complete.pci import hot_plug_pci, place_pci
from remotevirt.drivers.qemu.complete.usb import hot_plug_usb, needs_usb, place_usb
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import XmlError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.address import DimmAddress, VirtioSerialAddress
from remotevirt.xml.domain.chardev import Channel
from remotevirt.xml.domain.memory_device import MemoryDevice

__all__ = ["assign_address", "place_devices"]

SERIAL_PORTS = 31
"""Ports of a virtio serial controller that does not say; the first is a console's."""

MAX_CONTROLLERS = 1024
"""Controllers of a type that a guest may have."""


def place_devices(model: DomainModel) -> None:
    """Give addresses to all devices of a guest that have none. Raises VirError."""
    _place_channels(model)
    _place_memory(model)
    place_pci(model)
    place_usb(model)
    _mirror_console(model)


def _mirror_console(model: DomainModel) -> None:
    """The console that is the first serial port sits where that one does."""
    consoles, serials = model.devices.consoles, model.devices.serials
    if consoles and serials and consoles[0].target is not None and consoles[0].target.type == "serial":
        address = serials[0].info.address
        consoles[0].info.address = None if address is None else address.copy()


def assign_address(model: DomainModel, device: Any) -> None:
    """Give an address to a device that is about to be added to a guest, on the buses that it has.

    Args:
        model: the guest; the device is not in it yet, and it is not changed.
        device: of any family; one with an address keeps it if the place is free.

    Raises:
        VirError: there is no room, or the place is taken.
    """
    if isinstance(device, Channel) and device.target is not None and device.target.type == "virtio":
        address = device.info.address
        taken = _serial_ports(model)
        if not isinstance(address, VirtioSerialAddress) or not address.port:
            _give_port(model, device, taken, grow=False)
        elif address.port in taken.get(address.controller, set()):
            raise _occupied(address)
    elif isinstance(device, MemoryDevice) and device.model in {"dimm", "nvdimm"}:
        if device.info.address is None:
            _give_slot(model, device)
    elif needs_usb(device):
        hot_plug_usb(model, device)
    elif needs_pci(device):
        hot_plug_pci(model, device)


def _virtio_channels(model: DomainModel) -> list[Channel]:
    return [one for one in model.devices.channels if one.target is not None and one.target.type == "virtio"]


def _serial_ports(model: DomainModel) -> dict[int, set[int]]:
    """The ports that are taken, by controller; raises XmlError where two devices have one."""
    taken: dict[int, set[int]] = {
        one.index or 0: set() for one in model.devices.controllers if one.type == "virtio-serial"
    }
    for channel in _virtio_channels(model):
        address = channel.info.address
        if isinstance(address, VirtioSerialAddress) and address.port:
            ports = taken.setdefault(address.controller, set())
            if address.port in ports:
                raise _occupied(address)
            ports.add(address.port)
    return taken


def _occupied(address: VirtioSerialAddress) -> XmlError:
    return XmlError(
        f"virtio serial port {address.port} on controller {address.controller} is already occupied",
        domain=c.VIR_FROM_DOMAIN,
    )


def _place_channels(model: DomainModel) -> None:
    taken = _serial_ports(model)
    for channel in _virtio_channels(model):
        address = channel.info.address
        if not isinstance(address, VirtioSerialAddress) or not address.port:
            _give_port(model, channel, taken, grow=True)


def _give_port(model: DomainModel, channel: Channel, taken: dict[int, set[int]], *, grow: bool) -> None:
    """Take the first free port, of the controller that is told or of any; add a controller if need be."""
    told = channel.info.address
    ports = {
        one.index or 0: SERIAL_PORTS if one.ports is None else one.ports
        for one in model.devices.controllers
        if one.type == "virtio-serial"
    }
    wanted = sorted(ports) if not isinstance(told, VirtioSerialAddress) else [told.controller]
    for controller in wanted:
        free = (port for port in range(1, ports.get(controller, 0)) if port not in taken[controller])
        port = next(free, None)
        if port is not None:
            break
    else:
        controller = 1 + max(ports, default=-1)
        if not grow or controller >= MAX_CONTROLLERS:
            raise XmlError("Unable to find a free virtio-serial port", domain=c.VIR_FROM_DOMAIN)
        add_controller(model.devices, "virtio-serial", controller)
        taken[controller] = set()
        port = 1
    taken[controller].add(port)
    address = VirtioSerialAddress()
    address.controller, address.port = controller, port
    channel.info.address = address


def _place_memory(model: DomainModel) -> None:
    for device in model.devices.memories:
        if device.model in {"dimm", "nvdimm"} and device.info.address is None:
            _give_slot(model, device)


def _give_slot(model: DomainModel, device: MemoryDevice) -> None:
    taken = {
        one.info.address.slot for one in model.devices.memories if isinstance(one.info.address, DimmAddress)
    }
    slot = 0
    while slot in taken:
        slot += 1
    address = DimmAddress()
    address.slot = slot
    device.info.address = address
