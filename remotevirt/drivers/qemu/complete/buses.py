"""The PCI buses of a guest: what is plugged in where, where there is room, and which bus makes some.

Numbers of buses are indexes of the controllers that make them. A map of buses is made twice for a guest: the
first may grow, and tells which controllers are wanting; the second has them all.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

from remotevirt.drivers.qemu.complete.connect import Connect
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, XmlError
from remotevirt.xml.domain.address import PciPlace

__all__ = ["FUNCTIONS", "MAX_BUSES", "Bus", "Buses", "Place", "is_plain_bridge", "no_room"]

FUNCTIONS = 8
LAST_SLOT = 31
MAX_BUSES = 4096
"""More buses than the devices that a document may have; the root has no room for so many long before."""

_ENDPOINTS = Connect.PCI | Connect.PCIE

_OFFERS: dict[str, tuple[Connect, int, int]] = {
    "pci-root": (Connect.HOTPLUG | Connect.PCI | Connect.PCI_BRIDGE | Connect.EXPANDER, 1, LAST_SLOT),
    "pci-bridge": (Connect.HOTPLUG | Connect.PCI | Connect.PCI_BRIDGE, 1, LAST_SLOT),
    "pci-expander-bus": (Connect.PCI | Connect.PCI_BRIDGE, 0, LAST_SLOT),
    "pcie-root": (
        Connect.PCIE | Connect.ROOT_PORT | Connect.DMI_BRIDGE | Connect.PCIE_EXPANDER,
        1,
        LAST_SLOT,
    ),
    "dmi-to-pci-bridge": (Connect.PCI | Connect.PCI_BRIDGE, 0, LAST_SLOT),
    "pcie-to-pci-bridge": (Connect.HOTPLUG | Connect.PCI | Connect.PCI_BRIDGE, 1, LAST_SLOT),
    "pcie-root-port": (Connect.HOTPLUG | Connect.PCIE | Connect.SWITCH_UP | Connect.PCIE_TO_PCI, 0, 0),
    "pcie-switch-upstream-port": (Connect.SWITCH_DOWN, 0, LAST_SLOT),
    "pcie-switch-downstream-port": (
        Connect.HOTPLUG | Connect.PCIE | Connect.SWITCH_UP | Connect.PCIE_TO_PCI,
        0,
        0,
    ),
    "pcie-expander-bus": (Connect.ROOT_PORT | Connect.DMI_BRIDGE, 0, LAST_SLOT),
}
"""What a bus takes, and its first and last slot."""


class Place(NamedTuple):
    """Bus, slot and function."""

    bus: int
    slot: int
    function: int = 0

    def __str__(self) -> str:
        return f"0000:{self.bus:02x}:{self.slot:02x}.{self.function:x}"


@attrs.define
class Bus:
    """One bus: the functions that are taken of each slot, as bits, and the slots whose devices share them."""

    model: str
    offers: Connect
    first: int
    last: int
    taken: dict[int, int] = attrs.field(factory=dict)
    shared: set[int] = attrs.field(factory=set)

    @classmethod
    def of(cls, model: str) -> Bus:
        """Return an empty bus of a controller."""
        return cls(model, *_OFFERS[model])

    def takes(self, kind: Connect, *, told: bool = False) -> bool:
        """Whether a device fits; one that was told to sit here may be older or newer than the bus."""
        offers = self.offers
        if told and kind & (_ENDPOINTS | Connect.PCI_BRIDGE) and offers & _ENDPOINTS:
            return True
        if not kind & offers & Connect.KINDS:
            return False
        return told or not kind & Connect.HOTPLUG or bool(offers & Connect.HOTPLUG)


def is_plain_bridge(model: str) -> bool:
    """Whether a controller makes a bus of the old kind below another."""
    return model in {"pci-bridge", "dmi-to-pci-bridge", "pcie-to-pci-bridge"}


@attrs.define
class Buses:
    """All buses of a guest.

    Args:
        buses: by number.
        growing: buses may be added.
    """

    buses: list[Bus]
    growing: bool
    _full: dict[Connect, int] = attrs.field(factory=dict)
    """How many buses, from the first on, have no room for a kind of device: what is taken stays taken."""

    def check(self, place: Place, kind: Connect, domain: int = 0, *, told: bool = True) -> None:
        """Refuse a place that there is not, or where the device does not fit; raises VirError."""
        if domain:
            name = f"{domain:04x}{str(place)[4:]}"
            raise _wrong(f"Invalid PCI address {name}. Only PCI domain 0 is available")
        if place.bus >= len(self.buses):
            raise _wrong(
                f"Invalid PCI address {place}. Only PCI buses up to {len(self.buses) - 1} are available"
            )
        bus = self.buses[place.bus]
        if not bus.takes(kind, told=told):
            raise _wrong(
                f"The device at PCI address {place} cannot be plugged into the PCI controller with"
                f" index='{place.bus}'. It requires a controller that accepts a {_name(kind)}."
            )
        if place.slot < bus.first:
            raise _wrong(f"Invalid PCI address {place}. slot must be >= {bus.first}")
        if place.slot > bus.last:
            raise _wrong(f"Invalid PCI address {place}. slot must be <= {bus.last}")

    def reserve(self, place: Place, kind: Connect = Connect.NOTHING) -> None:
        """Take a place; raises XmlError if it is taken."""
        bus = self.buses[place.bus]
        bits = bus.taken.get(place.slot, 0)
        if bits >> place.function & 1:
            raise _wrong(f"Attempted double use of PCI Address {place}")
        if not kind & Connect.SHARED_SLOT:
            bus.shared.discard(place.slot)
        elif not bits:
            bus.shared.add(place.slot)
        bus.taken[place.slot] = bits | 1 << place.function

    def take(self, place: PciPlace, kind: Connect) -> None:
        """Take a place that a document gives, adding the buses up to it. Raises VirError."""
        if not self.buses:
            raise _wrong("No PCI buses available")
        if self.growing and not place.domain and place.bus >= len(self.buses):
            # An old device that asks for the next bus gets the one after it: in between is the way there.
            place.bus = max(place.bus, len(self.buses) + len(self._models(kind)) - 1)
            self.grow(kind, place.bus)
        wanted = Place(place.bus, place.slot, place.function)
        self.check(wanted, kind, place.domain)
        self.reserve(wanted, kind)

    def next(self, kind: Connect) -> Place:
        """Take the next free place for a device. Raises VirError if there is none and none can be made."""
        if not self.buses:
            raise _wrong("No PCI buses available")
        for number in range(self._full.get(kind, 0), len(self.buses)):
            bus = self.buses[number]
            place = self._free(number, bus, kind) if bus.takes(kind) else None
            if place is not None:
                self.reserve(place, kind)
                return place
            self._full[kind] = number + 1
        if not self.growing:
            raise InternalError("No more available PCI slots", domain=c.VIR_FROM_DOMAIN)
        number = self.grow(kind, None)
        place = Place(number, self.buses[number].first)
        self.reserve(place, kind)
        return place

    def _free(self, number: int, bus: Bus, kind: Connect) -> Place | None:
        for slot in range(bus.first, bus.last + 1):
            bits = bus.taken.get(slot, 0)
            if not bits:
                return Place(number, slot)
            if kind & Connect.SHARED_SLOT and slot in bus.shared:
                for function in range(FUNCTIONS):
                    if not bits >> function & 1:
                        return Place(number, slot, function)
        return None

    def grow(self, kind: Connect, until: int | None) -> int:
        """Add buses, up to a number or until there is one for a device; returns the last one's number."""
        models = self._models(kind)
        count = len(models) if until is None else until + 1 - len(self.buses)
        if len(self.buses) + count > MAX_BUSES:
            raise no_room(kind)
        last = "pci-bridge" if is_plain_bridge(models[-1]) else models[-1]
        models += [last] * (count - len(models))
        self.buses += [Bus.of(model) for model in models[:count]]
        if count > 1 and models[1] == "pcie-to-pci-bridge":
            self.reserve(Place(len(self.buses) - count, 0))
        return len(self.buses) - 1

    def _models(self, kind: Connect) -> list[str]:
        """The controllers that make room for a device, from the root on."""
        root = self.buses[0].model
        if kind & Connect.PCI:
            if any(bus.offers & Connect.PCI_BRIDGE for bus in self.buses):
                return ["pci-bridge"]
            return ["pcie-root-port", "pcie-to-pci-bridge"]
        if root == "pcie-root" and kind & (Connect.PCIE | Connect.SWITCH_UP):
            return ["pcie-root-port"]
        if kind & Connect.KINDS and not kind & Connect.PCIE_TO_PCI:
            raise no_room(kind)
        flags = "2000" if kind & Connect.PCIE_TO_PCI else "00"
        raise InternalError(
            f"Cannot automatically add a new PCI bus for a device with connect flags {flags}",
            domain=c.VIR_FROM_DOMAIN,
        )


def no_room(kind: Connect) -> InternalError:
    """The error for a controller that fits nowhere."""
    return InternalError(
        f"a PCI slot is needed to connect a PCI controller model='{_name(kind)}', but none is"
        " available, and it cannot be automatically added",
        domain=c.VIR_FROM_DOMAIN,
    )


_NAMES = {
    Connect.ROOT_PORT: "pcie-root-port",
    Connect.SWITCH_UP: "pcie-switch-upstream-port",
    Connect.SWITCH_DOWN: "pcie-switch-downstream-port",
    Connect.DMI_BRIDGE: "dmi-to-pci-bridge",
    Connect.PCIE_TO_PCI: "pcie-to-pci-bridge",
    Connect.PCI_BRIDGE: "pci-bridge",
    Connect.EXPANDER: "pci-expander-bus",
    Connect.PCIE_EXPANDER: "pcie-expander-bus",
    Connect.PCIE: "PCI Express device",
    Connect.PCI: "standard PCI device",
}


def _name(kind: Connect) -> str:
    return next((name for flag, name in _NAMES.items() if kind & flag), "device")


def _wrong(text: str) -> XmlError:
    return XmlError(text, domain=c.VIR_FROM_DOMAIN)
