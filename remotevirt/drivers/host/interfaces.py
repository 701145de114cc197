"""The host's network interfaces: the interface sub-driver for any hypervisor.

As libvirt's udev backend it tells what is there and changes nothing. Lists leave out what belongs to somebody
else: the ports of bridges, and the taps of guests. Addresses are not told, since that backend tells none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from remotevirt.drivers.faults import check_count, check_flags
from remotevirt.drivers.host.aside import aside
from remotevirt.drivers.host.device_document import link_of
from remotevirt.drivers.host.device_files import Device, read_device
from remotevirt.drivers.host.files import Files
from remotevirt.drivers.host.host import Host
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import InterfaceDriver
from remotevirt.stubs.errors import MultipleInterfaces, NoInterface
from remotevirt.stubs.remote import NonnullInterface
from remotevirt.stubs.remote.interface import ConnectListAllInterfacesRet
from remotevirt.xml.interface import Bond, InterfaceModel, format_interface
from remotevirt.xml.write import Tag

__all__ = ["HostInterfaces"]

NET: Final = "/sys/class/net"
VLANS: Final = "/proc/net/vlan"

MAX_NAMES: Final = 16384
"""REMOTE_INTERFACE_LIST_MAX."""

DEPTH_MAXIMUM: Final = 3
"""How deep interfaces are told inside each other: a bridge has bonds, which have cards."""

ACTIVE: Final[int] = c.VIR_CONNECT_LIST_INTERFACES_ACTIVE
INACTIVE: Final[int] = c.VIR_CONNECT_LIST_INTERFACES_INACTIVE

_NAME: Final = re.compile(r"[^/\s\0]{1,15}")
"""What the kernel takes for a name; with ``.`` and ``..`` besides, which are not."""

_VLAN: Final = re.compile(r"\bVID: (\d{1,4})\b.*^Device: (\S+)", re.MULTILINE | re.DOTALL)

CARRIERS: Final = ("ioctl", "netif")
VALIDATIONS: Final = ("none", "active", "backup", "all")


class HostInterfaces(InterfaceDriver):
    """The interface sub-driver; interfaces are found by name."""

    def __init__(self, host: Host) -> None:
        self.files = host.files

    def _find(self, name: str) -> Device | None:
        """Return an interface; None if it is not there."""
        if (
            _NAME.fullmatch(name) is None
            or name in {".", ".."}
            or not self.files.exists(f"{NET}/{name}/ifindex")
        ):
            return None
        return read_device(self.files, self.files.resolve(f"{NET}/{name}"))

    def _named(self, name: str) -> Device:
        device = self._find(name)
        if device is None:
            raise NoInterface(f"couldn't find interface named '{name}'", domain=c.VIR_FROM_INTERFACE)
        return device

    def _all(self) -> Iterator[Device]:
        """Return the interfaces, but taps and ports of bridges."""
        for name in self.files.names(NET)[:MAX_NAMES]:
            device = self._find(name)
            if device is not None and not device.text("tun_flags") and not device.text("brport/state"):
                yield device

    def _in_state(self, state: str) -> list[str]:
        return [device.name for device in self._all() if device.text("operstate") == state]

    @aside
    def connect_num_of_interfaces(self) -> int:
        """Return how many interfaces are up."""
        return len(self._in_state("up"))

    @aside
    def connect_num_of_defined_interfaces(self) -> int:
        """Return how many interfaces are down; those of which that is not known do not count."""
        return len(self._in_state("down"))

    @aside
    def connect_list_interfaces(self, maxnames: int) -> Sequence[str]:
        """Return the names of interfaces that are up."""
        check_count(maxnames, MAX_NAMES, "maxnames", "REMOTE_INTERFACE_LIST_MAX")
        return self._in_state("up")[:maxnames]

    @aside
    def connect_list_defined_interfaces(self, maxnames: int) -> Sequence[str]:
        """Return the names of interfaces that are down; those of which that is not known are left out."""
        check_count(maxnames, MAX_NAMES, "maxnames", "REMOTE_INTERFACE_LIST_MAX")
        return self._in_state("down")[:maxnames]

    @aside
    def connect_list_all_interfaces(self, need_results: int, flags: int) -> ConnectListAllInterfacesRet:
        """Return the interfaces that are up, or those that are not, or both."""
        check_flags(flags, ACTIVE | INACTIVE, "udevConnectListAllInterfaces", c.VIR_FROM_INTERFACE)
        wanted = flags or ACTIVE | INACTIVE
        found = [one for one in self._all() if wanted & (ACTIVE if _is_up(one) else INACTIVE)]
        refs = tuple(map(_ref, found)) if need_results else ()
        return ConnectListAllInterfacesRet(refs, len(found))

    @aside
    def interface_lookup_by_name(self, name: str) -> NonnullInterface:
        """Return the interface of a name."""
        return _ref(self._named(name))

    @aside
    def interface_lookup_by_mac_string(self, mac: str) -> NonnullInterface:
        """Return the interface of a MAC address, as the kernel writes it."""
        devices = [self._find(name) for name in self.files.names(NET)[:MAX_NAMES]]
        found = [one for one in devices if one is not None and one.text("address") == mac]
        if not found:
            text = f"couldn't find interface with MAC address '{mac}'"
            raise NoInterface(text, domain=c.VIR_FROM_INTERFACE)
        if len(found) > 1:
            text = f"the MAC address '{mac}' matches multiple interfaces"
            raise MultipleInterfaces(text, domain=c.VIR_FROM_INTERFACE)
        return _ref(found[0])

    @aside
    def interface_get_xml_desc(self, iface: NonnullInterface, flags: int) -> str:
        """Return an interface's document; what is defined is what is there."""
        check_flags(flags, c.VIR_INTERFACE_XML_INACTIVE, "udevInterfaceGetXMLDesc", c.VIR_FROM_INTERFACE)
        return format_interface(self._model(self._named(iface.name)))

    @aside
    def interface_is_active(self, iface: NonnullInterface) -> int:
        """Return 1 for an interface that is up."""
        return int(_is_up(self._named(iface.name)))

    def _model(self, device: Device, depth: int = 0) -> InterfaceModel:
        """Describe an interface; ``depth`` is the number of those that it stands in."""
        kind = _kind(device)
        model = InterfaceModel(kind, device.name)
        if depth == 0:
            model.mtu = device.number("mtu") or 0
        if kind != "bridge":
            model.link_speed, model.link_state = link_of(device)
        if kind == "ethernet":
            model.mac = device.text("address")
        elif kind == "vlan":
            model.vlan = _vlan(self.files, device.name)
        elif kind == "bridge":
            model.stp = {"0": "off", "1": "on"}.get(device.text("bridge/stp_state") or "")
            model.delay = device.text("bridge/forward_delay")
        else:
            model.bond = _bond(device)
        inside = _parts(device, kind) if depth < DEPTH_MAXIMUM else []
        found = [self._find(name) for name in inside]
        model.parts = [self._model(one, depth + 1) for one in found if one is not None]
        return model


def _is_up(device: Device) -> bool:
    return device.text("operstate") == "up"


def _ref(device: Device) -> NonnullInterface:
    return NonnullInterface(device.name, device.text("address") or "")


def _kind(device: Device) -> str:
    """Return what an interface is: where the kernel does not say, a dot in its name makes it a VLAN."""
    kind = device.properties.get("DEVTYPE")
    if kind in {"vlan", "bridge", "bond"}:
        return kind
    if device.text("bonding/mode"):
        return "bond"
    return "vlan" if "." in device.name else "ethernet"


def _vlan(files: Files, name: str) -> tuple[str, str]:
    """Return the tag of a VLAN, and the interface that it is on."""
    match = _VLAN.search(files.read(f"{VLANS}/{name}") or "")
    if match is not None:
        return match[1], match[2]
    parent, _, tag = name.rpartition(".")
    return tag, parent


def _bond(device: Device) -> Bond:
    """Describe how a bond works, and what watches its parts."""

    def number(name: str) -> int:
        return device.number(f"bonding/{name}") or 0

    mode = (device.text("bonding/mode") or "").partition(" ")[0] or None
    interval, frequency = number("arp_interval"), number("miimon")
    if interval > 0:
        targets = (device.text("bonding/arp_ip_target") or "").split()
        monitor = Tag("arpmon").set("interval", interval).set("target", targets[0] if targets else None)
        validate = (device.text("bonding/arp_validate") or "").partition(" ")[0]
        monitor.set("validate", validate if validate in VALIDATIONS[1:] else None)
        return Bond(mode, monitor)
    if frequency <= 0:
        return Bond(mode, None)
    monitor = Tag("miimon").set("freq", frequency)
    monitor.set("downdelay", number("downdelay") or None).set("updelay", number("updelay") or None)
    return Bond(mode, monitor.set("carrier", CARRIERS[number("use_carrier") != 0]))


def _parts(device: Device, kind: str) -> list[str]:
    """Return the names of the interfaces that a bridge or bond is made of."""
    if kind == "bridge":
        return device.files.names(f"{device.path}/brif")
    if kind != "bond":
        return []
    names = device.files.names(device.path)
    return sorted({name[6:] for name in names if name.startswith(("slave_", "lower_"))})
