"""Network cards, and what they are connected to on the host: QEMU's own NAT, or a tap device."""

from __future__ import annotations

from typing import Any, Final

from remotevirt.drivers.qemu.command.parts import Descriptor, Fd, GuestFile, Order, Part, Tap
from remotevirt.drivers.qemu.command.setting import Setting, alias_of, unsupported, virtio_options
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError
from remotevirt.xml.domain.interface import Interface, InterfaceDriver, InterfaceTarget
from remotevirt.xml.domain.interface_source import BridgePlace

__all__ = ["link_of", "parts_of_interface"]

_TAPS: Final = frozenset(("bridge", "ethernet"))
"""Types of network cards that are connected to a tap device. One of a virtual network must have been turned
into one of its bridge: a card that is connected to nothing is not what was asked for."""

_TRANSMIT: Final = {"iothread": "bh", "timer": "timer"}


def parts_of_interface(setting: Setting, interface: Interface) -> list[Part]:
    """Return a network card: the network on the host, then the device. Raises VirError."""
    alias = alias_of(interface.info, "network")
    network = f"host{alias}"
    device = Part("device", _device(setting, interface, alias, network), files=_rom(interface))
    return [_netdev(interface, alias, network), device]


def link_of(interface: Interface) -> Order | None:
    """Return the command that pulls the cable of a card whose link is down, None if it is up."""
    if interface.link != "down":
        return None
    return Order("set_link", {"name": alias_of(interface.info, "network"), "up": False})


def _netdev(interface: Interface, alias: str, network: str) -> Part:
    kind = interface.type
    if interface.backend is not None and interface.backend.vhost is not None:
        raise unsupported("vhost-net is not supported by this driver")
    if kind == "user":
        if interface.mtu is not None:
            raise unsupported("setting MTU on interface type user is not supported yet")
        if interface.tune is not None:
            raise unsupported("sndbuf is not supported for network interfaces of type 'user'")
        return Part("netdev", {"type": "user", **_slirp(interface), "id": network})
    if kind not in _TAPS:
        raise unsupported(f"network interfaces of type '{kind}' are not supported by this driver")
    if interface.ips or interface.routes:
        raise unsupported(
            "Invalid attempt to set network interface guest-side IP route and/or address info,"
            f" not supported for type '{kind}'"
        )
    if interface.script is not None or interface.downscript is not None:
        raise unsupported("scripts of network interfaces are not supported by this driver")
    name = f"tapfd-{alias}"
    values: dict[str, Any] = {"type": "tap", "fd": Fd(name)}
    if interface.tune is not None and interface.tune.sndbuf is not None:
        values["sndbuf"] = interface.tune.sndbuf
    bridge = interface.place.bridge if isinstance(interface.place, BridgePlace) else None
    target = interface.target or InterfaceTarget()
    made = target.managed is not False
    if not made and not target.dev:
        raise InternalError("target dev must be supplied when managed='no'", domain=c.VIR_FROM_QEMU)
    tap = Tap(target.dev or None, _mac(interface), interface.mtu, bridge, made)
    return Part(
        "netdev", {**values, "id": network}, descriptors=(Descriptor(name, "tap", tap=tap, device=alias),)
    )


def _mac(interface: Interface) -> str:
    if interface.mac is None or interface.mac.address is None:
        raise unsupported("a network card lacks its MAC address")
    return interface.mac.address


def _slirp(interface: Interface) -> dict[str, Any]:
    if interface.port_forwards:
        raise unsupported(
            "The <portForward> element can only be used with <interface type='user'> and its 'passt' backend"
        )
    values: dict[str, Any] = {}
    for address in interface.ips:
        if address.peer is not None:
            raise unsupported("peers of guest-side addresses are not supported")
        if (address.family or "ipv4") == "ipv4":
            if "net" in values:
                raise unsupported("Only one IPv4 address per interface is allowed")
            values["net"] = f"{address.address}/{address.prefix if address.prefix is not None else 24}"
        else:
            if "ipv6-prefix" in values:
                raise unsupported("Only one IPv6 address per interface is allowed")
            values["ipv6-prefix"] = address.address
            if address.prefix is not None:
                values["ipv6-prefixlen"] = address.prefix
    if interface.routes:
        raise unsupported("routes of network interfaces are not supported")
    return values


def _device(setting: Setting, interface: Interface, alias: str, network: str) -> dict[str, Any]:
    values: dict[str, Any]
    if interface.is_virtio():
        model = None if interface.model == "virtio" else interface.model
        values = {"driver": setting.virtio("net", model, interface.info.address)}
        if interface.driver is not None:
            values |= _virtio(interface.driver)
        if interface.mtu is not None:
            values["host_mtu"] = interface.mtu
    else:
        name = interface.model or "rtl8139"
        values = {"driver": setting.need(name, f"unknown network card model '{name}'")}
    values |= {"netdev": network, "id": alias, "mac": _mac(interface)}
    values |= {**setting.boot_index(interface), **setting.place(interface.info.address)}
    rom = interface.info.rom
    if rom is not None:
        if rom.enabled is False:
            values["romfile"] = ""
        if rom.bar is not None:
            values["rombar"] = int(rom.bar)
        if rom.file is not None:
            values["romfile"] = rom.file
    return values


def _rom(interface: Interface) -> tuple[GuestFile, ...]:
    """The option ROM of a network card that has its own."""
    rom = interface.info.rom
    return () if rom is None or rom.file is None else (GuestFile(rom.file, shared=True),)


def _virtio(driver: InterfaceDriver) -> dict[str, Any]:
    if driver.name not in {None, "qemu"}:
        raise unsupported(f"network driver '{driver.name}' is not supported by this driver")
    if driver.queues is not None and driver.queues > 1:
        raise unsupported("Multiqueue network is not supported by this driver")
    if driver.rss is not None or driver.rss_hash_report is not None:
        raise unsupported("virtio rss is not supported by this driver")
    pairs: dict[str, Any] = {
        "tx": _TRANSMIT.get(driver.txmode or ""),
        "ioeventfd": driver.ioeventfd,
        "event_idx": driver.event_idx,
    }
    host, guest = driver.host, driver.guest
    if host is not None:
        pairs |= {
            "csum": host.csum,
            "gso": host.gso,
            "host_tso4": host.tso4,
            "host_tso6": host.tso6,
            "host_ecn": host.ecn,
            "host_ufo": host.ufo,
            "mrg_rxbuf": host.mrg_rxbuf,
        }
    if guest is not None:
        pairs |= {
            "guest_csum": guest.csum,
            "guest_tso4": guest.tso4,
            "guest_tso6": guest.tso6,
            "guest_ecn": guest.ecn,
            "guest_ufo": guest.ufo,
        }
    pairs |= {"rx_queue_size": driver.rx_queue_size, "tx_queue_size": driver.tx_queue_size}
    return {key: value for key, value in pairs.items() if value is not None} | virtio_options(driver.virtio)
