"""Where each device of a guest sits on PCI: in libvirt's order, so that a guest finds its devices again.

Addresses of the document are taken first; then the machine's own devices get the places they must have;
the rest is filled in device by device. Buses that are wanting are found in a first round, on a map that
grows. They become controllers, which get their own addresses in the second round.
"""

from __future__ import annotations

from typing import Any, Final

from remotevirt.drivers.qemu.complete.additions import add_controller
from remotevirt.drivers.qemu.complete.board import Board, find_board, unsupported
from remotevirt.drivers.qemu.complete.buses import MAX_BUSES, Bus, Buses, Place, no_room
from remotevirt.drivers.qemu.complete.connect import (
    EXPRESS,
    OF_CONTROLLER,
    OLD,
    Connect,
    needs_pci,
    pci_devices,
    slot_kind,
)
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain import DomainModel
from remotevirt.xml.domain.address import Address, PciAddress, PciPlace
from remotevirt.xml.domain.controller import Controller, PciModel, PciTarget

__all__ = ["PCI_MODELS", "hot_plug_pci", "place_pci"]

VIDEO_SLOT = {"pci-root": 2, "pcie-root": 1}
"""Where a PC has its first graphics card."""

COMPANIONS = {"ich9-ehci1": 7, "ich9-uhci1": 0, "ich9-uhci2": 1, "ich9-uhci3": 2}
"""USB 2 controllers that share a slot, and the function that each has."""

FIRST_EXPANDER_BUS = 254
"""The bus number of the first expander; further ones count down from it."""


def place_pci(model: DomainModel) -> None:
    """Give addresses to PCI devices that have none, adding the controllers they need. Raises VirError."""
    board = find_board(model)
    told = 1 + max((one.index or 0 for one in model.devices.controllers if one.type == "pci"), default=-1)
    if told:
        plan = _map(model, board, growing=True)
        express = board.root == "pcie-root"
        _assign(plan, model, board, dry=True)
        _add_buses(plan, model)
        if express and told == 1 and len(plan.buses) > 1:
            # Nobody planned the buses, so there shall be room to plug one more device in.
            plan.next(EXPRESS)
            _add_buses(plan, model)
    final = _map(model, board, growing=False)
    _assign(final, model, board, dry=False)
    _share_slots(final, model)
    _check_order(model)
    _complete_controllers(model)


def hot_plug_pci(model: DomainModel, device: Any) -> None:
    """Give a device that is added to a guest an address on the buses that are there. Raises VirError."""
    board = find_board(model)
    buses = _map(model, board, growing=False)
    kind = slot_kind(device, board.root == "pcie-root")
    address = _address(device)
    if address is not None:
        buses.take(address, kind)
    else:
        _set(device, buses.next(kind))


def _address(device: Any) -> PciPlace | None:
    """The place that a device has, None if one shall be chosen."""
    address = device.info.address
    if isinstance(address, PciAddress) and not _is_open(address.place):
        return address.place
    return None


def _is_open(place: PciPlace) -> bool:
    """Whether a place says nothing, so that one is chosen; a function alone says nothing either."""
    return not (place.domain or place.bus or place.slot)


def _wants(device: Any) -> bool:
    address: Address | None = device.info.address
    return address is None or (isinstance(address, PciAddress) and _is_open(address.place))


def _set(device: Any, place: Place, *, multifunction: bool | None = None) -> None:
    address = PciAddress()
    address.type = "pci"
    address.place = PciPlace()
    address.place.bus, address.place.slot, address.place.function = place
    address.multifunction = multifunction
    device.info.address = address


def _map(model: DomainModel, board: Board, *, growing: bool) -> Buses:
    """The buses of the controllers that there are, with what has an address or a fixed place on them."""
    found = {one.index or 0: one for one in model.devices.controllers if one.type == "pci"}
    buses = Buses([], growing)
    express = board.root == "pcie-root"
    if any(one.model is None for one in found.values()):
        raise InternalError("PCI controller model was not set correctly", domain=c.VIR_FROM_DOMAIN)
    last = max(found, default=-1)
    if last >= MAX_BUSES:
        raise no_room(OF_CONTROLLER.get(found[last].model or "", Connect.NOTHING))
    for number in range(1 + last):
        controller = found.get(number)
        name = (controller.model if controller else None) or ("pcie-root-port" if express else "pci-bridge")
        buses.buses.append(Bus.of(name))
    for device in pci_devices(model):
        place = _address(device)
        if place is not None:
            buses.take(place, slot_kind(device, express))
    for sound in model.devices.sounds:
        place = _address(sound)
        if place is not None and not needs_pci(sound):
            # It has no use for the place, and keeps it.
            buses.take(place, OLD)
    return buses


def _assign(buses: Buses, model: DomainModel, board: Board, *, dry: bool) -> None:
    """Fill in addresses; in a dry run they are only counted."""
    express = board.root == "pcie-root"
    kept = {id(device): device.info.address for device in pci_devices(model)} if dry else {}
    if board.is_i440fx:
        _fix_i440fx(buses, model)
    elif board.is_q35:
        _fix_q35(buses, model)
    for device in pci_devices(model):
        if not _wants(device):
            continue
        if isinstance(device, Controller) and device.type == "usb" and device.model in COMPANIONS:
            _place_companion(buses, model, device, express)
            continue
        if dry and isinstance(device, Controller) and device.type == "pci" and device.model == "pcie-root":
            continue
        _set(device, buses.next(slot_kind(device, express)))
    for device in pci_devices(model) if dry else ():
        device.info.address = kept[id(device)]


def _add_buses(plan: Buses, model: DomainModel) -> None:
    """Make controllers of the buses that were added.

    Each needs a place itself, but for the bridge to the old kind, which came with its own port.
    """
    number = 1
    while number < len(plan.buses):
        name = plan.buses[number].model
        if add_controller(model.devices, "pci", number, name):
            controller = next(
                one for one in model.devices.controllers if one.type == "pci" and one.index == number
            )
            if name != "pcie-to-pci-bridge":
                plan.next(slot_kind(controller, express=True))
        number += 1


def _check_order(model: DomainModel) -> None:
    """A controller cannot sit on the bus that it makes."""
    for controller in model.devices.controllers:
        index, place = controller.index or 0, _address(controller)
        if controller.type == "pci" and place is not None and place.bus == index:
            raise unsupported(
                f"PCI controller at index {index} (0x{index:02x}) has bus='0x{place.bus:02x}', but index must"
                " be larger than bus"
            )


def _first(model: DomainModel, kind: str) -> Controller | None:
    found = (one for one in model.devices.controllers if one.type == kind and one.index == 0)
    return next(found, None)


def _fix(buses: Buses, device: Any, place: Place, refusal: str) -> None:
    """Give one of the machine's own devices its place; it can have no other."""
    if _wants(device):
        buses.reserve(place)
        _set(device, place)
        return
    told = _address(device)
    if told is None or (told.domain, told.bus, told.slot, told.function) != (0, *place):
        raise InternalError(refusal, domain=c.VIR_FROM_QEMU)


def _fix_i440fx(buses: Buses, model: DomainModel) -> None:
    """The ISA bridge, IDE and USB are functions of slot 1."""
    if not buses.buses:
        return
    ide, usb = _first(model, "ide"), _first(model, "usb")
    if ide is not None:
        _fix(buses, ide, Place(0, 1, 1), "Primary IDE controller must have PCI address 0:0:1.1")
    if usb is not None and usb.model == "piix3-uhci":
        _fix(buses, usb, Place(0, 1, 2), "PIIX3 USB controller at index 0 must have PCI address 0:0:1.2")
    if any(one.type == "ide" and one.index for one in model.devices.controllers):
        raise InternalError("Only 1 IDE controller is supported", domain=c.VIR_FROM_QEMU)
    buses.reserve(Place(0, 1, 0))
    _fix_video(buses, model, VIDEO_SLOT["pci-root"])


def _fix_q35(buses: Buses, model: DomainModel) -> None:
    """The LPC bridge, SATA and the system management bus are functions of slot 0x1f."""
    sata = _first(model, "sata")
    if sata is not None:
        text = "Primary SATA controller must have PCI address 0:0:1f.2"
        _fix(buses, sata, Place(0, 0x1F, 2), text)
    for controller in model.devices.controllers:
        if not _wants(controller):
            continue
        if controller.type == "usb" and controller.model == "ich9-uhci1":
            _fix_companion(buses, model, controller)
        elif controller.type == "pci" and controller.model == "dmi-to-pci-bridge":
            _take_free(buses, controller, Place(0, 0x1E))
    buses.reserve(Place(0, 0x1F, 0))
    buses.reserve(Place(0, 0x1F, 3))
    _fix_video(buses, model, VIDEO_SLOT["pcie-root"])
    for sound in model.devices.sounds:
        if sound.model == "ich9" and _wants(sound):
            _take_free(buses, sound, Place(0, 0x1B))
            break


def _take_free(buses: Buses, device: Any, place: Place) -> None:
    """Give a device its usual place if nothing is there."""
    if not buses.buses[place.bus].taken.get(place.slot):
        buses.reserve(place)
        _set(device, place)


def _fix_companion(buses: Buses, model: DomainModel, controller: Controller) -> None:
    """Sets of USB 2 controllers sit in slots 0x1d and 0x1a, if nothing else does; the first of it decides."""
    if _companion_slot(model, controller) is not None:
        return
    for slot in (0x1D, 0x1A):
        if not buses.buses[0].taken.get(slot):
            _set_companion(buses, controller, 0, slot)
            return


def _companion_slot(model: DomainModel, controller: Controller) -> PciPlace | None:
    """Where the set is that a controller belongs to, None if none of it has a place."""
    for other in model.devices.controllers:
        if other.type == "usb" and other.index == controller.index and other.model in COMPANIONS:
            place = _address(other)
            if place is not None:
                return place
    return None


def _set_companion(buses: Buses, controller: Controller, bus: int, slot: int) -> None:
    function = COMPANIONS[controller.model or ""]
    place = Place(bus, slot, function)
    buses.reserve(place)
    _set(controller, place, multifunction=True if function == 0 else None)


def _place_companion(buses: Buses, model: DomainModel, controller: Controller, express: bool) -> None:
    found = _companion_slot(model, controller)
    if found is not None:
        _set_companion(buses, controller, found.bus, found.slot)
        return
    place = buses.next(slot_kind(controller, express))
    buses.buses[place.bus].taken[place.slot] = 0
    _set_companion(buses, controller, place.bus, place.slot)


def _fix_video(buses: Buses, model: DomainModel, slot: int) -> None:
    """The first graphics card has a slot of its own, unless the document has put something else there."""
    videos = model.devices.videos
    if not videos or not needs_pci(videos[0]) or not _wants(videos[0]):
        return
    _take_free(buses, videos[0], Place(0, slot))
    if _wants(videos[0]):
        place = buses.next(slot_kind(videos[0], buses.buses[0].model == "pcie-root"))
        if not buses.growing:
            # libvirt forgets in its first round that the card has a place by now, and counts it again.
            _set(videos[0], place)


def _share_slots(buses: Buses, model: DomainModel) -> None:
    """Where devices share a slot its first function has to say so."""
    for device in pci_devices(model):
        place = _address(device)
        if place is None or place.function or place.bus >= len(buses.buses):
            continue
        bus = buses.buses[place.bus]
        if (
            place.slot in bus.shared
            and bus.taken[place.slot] & ~1
            and device.info.address.multifunction is None
        ):
            device.info.address.multifunction = True


PCI_MODELS: Final = {
    "pci-bridge": "pci-bridge",
    "dmi-to-pci-bridge": "i82801b11-bridge",
    "pcie-to-pci-bridge": "pcie-pci-bridge",
    "pcie-root-port": "pcie-root-port",
    "pcie-switch-upstream-port": "x3130-upstream",
    "pcie-switch-downstream-port": "xio3130-downstream",
    "pci-expander-bus": "pxb",
    "pcie-expander-bus": "pxb-pcie",
}
"""The QEMU device of each PCI controller."""


def _complete_controllers(model: DomainModel) -> None:
    """Say which device makes a bus, and the numbers by which the guest knows it."""
    expander = FIRST_EXPANDER_BUS
    for controller in model.devices.controllers:
        if controller.type != "pci" or controller.model not in PCI_MODELS:
            continue
        controller.pci_model = controller.pci_model or PciModel()
        controller.pci_model.name = controller.pci_model.name or PCI_MODELS[controller.model]
        target = controller.target or PciTarget()
        place = _address(controller)
        if controller.model == "pci-bridge":
            if target.chassis_nr is None:
                target.chassis_nr = controller.index
        elif controller.model in {"pcie-root-port", "pcie-switch-downstream-port"}:
            if target.chassis is None:
                target.chassis = controller.index
            if target.port is None and place is not None:
                downstream = controller.model == "pcie-switch-downstream-port"
                target.port = place.slot if downstream else (place.slot << 3) + place.function
        elif controller.model in {"pci-expander-bus", "pcie-expander-bus"} and target.bus_nr is None:
            target.bus_nr = expander
            expander -= 2
        controller.target = target
