"""Changing one section of a network, as ``virsh net-update`` does.

A command names a section, what to do, and an element. The element is read like a part of a whole document
(a delete command takes less than that), and afterwards the whole document is read again, so that no update
makes what could not have been defined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationInvalid, OperationUnsupported
from remotevirt.xml.addresses import format_address
from remotevirt.xml.network.dns import DnsHost, DnsService, DnsText
from remotevirt.xml.network.document import NetworkModel, PortGroup
from remotevirt.xml.network.ip import DhcpHost, DhcpRange, IpSubnet, refused
from remotevirt.xml.parse import Element, local_name, parse_document, parse_fragment
from remotevirt.xml.write import render

__all__ = ["update_network"]

NET: Final = c.VIR_FROM_NETWORK
MODIFY: Final[int] = c.VIR_NETWORK_UPDATE_COMMAND_MODIFY
DELETE: Final[int] = c.VIR_NETWORK_UPDATE_COMMAND_DELETE
ADD_LAST: Final[int] = c.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
ADD_FIRST: Final[int] = c.VIR_NETWORK_UPDATE_COMMAND_ADD_FIRST
ADDS: Final = (ADD_LAST, ADD_FIRST)

FIXED: Final = {
    c.VIR_NETWORK_SECTION_BRIDGE: "bridge",
    c.VIR_NETWORK_SECTION_DOMAIN: "domain",
    c.VIR_NETWORK_SECTION_IP: "ip",
    c.VIR_NETWORK_SECTION_FORWARD: "forward",
    c.VIR_NETWORK_SECTION_FORWARD_PF: "forward pf",
}
"""Sections that libvirt names but cannot change."""

RECORDS: Final = {
    c.VIR_NETWORK_SECTION_DNS_HOST: "HOST",
    c.VIR_NETWORK_SECTION_DNS_TXT: "TXT",
    c.VIR_NETWORK_SECTION_DNS_SRV: "SRV",
}
"""Sections whose elements come and go as a whole, and what errors call them."""

T = TypeVar("T")


def _invalid(text: str) -> VirError:
    return OperationInvalid(text, domain=NET)


def _impossible(text: str) -> VirError:
    return OperationUnsupported(text, domain=NET)


def _unknown(command: int) -> VirError:
    shown = command - 2**32 if command >= 2**31 else command  # libvirt prints a signed number
    return _impossible(f"unrecognized network update command code {shown}")


def _insert(items: list[T], item: T, command: int) -> None:
    items.insert(0 if command == ADD_FIRST else len(items), item)


def update_network(model: NetworkModel, command: int, section: int, parent: int, text: str) -> NetworkModel:
    """Return a network's definition with one section changed.

    Args:
        model: the definition, which stays as it is.
        command: of virNetworkUpdateCommand.
        section: of virNetworkUpdateSection.
        parent: which of several elements the section is in, -1 for the only sensible one.
        text: the element to add, to replace, or to find and delete.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    twin = _again(model)
    handler = _HANDLERS.get(section)
    element = parse_fragment(text, source="network_update_xml", domain=NET)
    if section in FIXED:
        raise _impossible(f"can't update '{FIXED[section]}' section of network '{model.name}'")
    if handler is None:
        raise _impossible("can't update unrecognized section of network")
    if command == MODIFY and section in RECORDS:
        raise _impossible(f"DNS {RECORDS[section]} records cannot be modified, only added or deleted")
    tag, change = handler
    if local_name(element) != tag:
        raise refused(
            f"unexpected element <{local_name(element)}>, expecting <{tag}>, "
            f"while updating network '{model.name}'"
        )
    change(twin, command, parent, element)
    return _again(twin)


def _again(model: NetworkModel) -> NetworkModel:
    """Return a copy that has been printed and read."""
    text = render(model.element())
    root = parse_document(text, root="network", source="(network_definition)", domain=NET)
    return NetworkModel.read(root)


def _subnet(model: NetworkModel, parent: int) -> IpSubnet:
    """Return the subnet that an update of its DHCP server means."""
    start = "couldn't update dhcp host entry - no <ip> element found"
    subnets = model.subnets
    if parent >= 0:
        if parent >= len(subnets):
            raise _invalid(f"{start} at index {parent} in network '{model.name}'")
        return subnets[parent]
    for subnet in subnets:
        if subnet.ranges or subnet.hosts:
            return subnet
    for version in (4, 6):
        for subnet in subnets:
            if subnet.address.version == version:
                return subnet
    raise _invalid(f"{start} in network '{model.name}'")


def _check_only_server(model: NetworkModel, chosen: IpSubnet) -> None:
    """Check that no other subnet of the family has a DHCP server."""
    version = chosen.address.version
    for subnet in model.subnets:
        if subnet is not chosen and subnet.address.version == version and (subnet.ranges or subnet.hosts):
            text = f"dhcp is supported only for a single IPv{version} address on each network"
            raise _invalid(text)


def _same_mac(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.lower() == other.lower()


def _dhcp_host(model: NetworkModel, command: int, parent: int, element: Element) -> None:
    subnet = _subnet(model, parent)
    host = DhcpHost.read(element, model.name, subnet, partial=command == DELETE)
    hosts = subnet.hosts
    address = None if host.ip is None else format_address(host.ip)
    if command == DELETE:
        for number, found in enumerate(hosts):
            if (
                (host.mac is None or found.mac is None or _same_mac(host.mac, found.mac))
                and host.name in (None, found.name)
                and host.ip in (None, found.ip)
            ):
                del hosts[number]
                return
        raise _invalid(f"couldn't locate a matching dhcp host entry in network '{model.name}'")
    if host.ip is not None and host.ip.version != subnet.address.version:
        text = (
            "the address family of a host entry IP must match the address family of the dhcp element's parent"
        )
        raise _invalid(text)
    if command not in (*ADDS, MODIFY):
        raise _unknown(command)
    if command != MODIFY:
        _check_only_server(model, subnet)
    same = [
        number
        for number, found in enumerate(hosts)
        if _same_mac(host.mac, found.mac)
        or (host.name is not None and host.name == found.name)
        or (host.ip is not None and host.ip == found.ip)
    ]
    mac = host.mac if host.mac is not None else "unknown" if command != MODIFY else "(null)"
    name = host.name if host.name is not None else "(null)"
    if command == MODIFY:
        if not same:
            raise _invalid(
                f"couldn't locate an existing dhcp host entry with \"mac='{host.mac or 'unknown'}'\" "
                f"\"name='{name}'\" \"ip='{address or 'unknown'}'\" in network '{model.name}'"
            )
        hosts[same[0]] = host
        return
    if same:
        raise _invalid(
            f"there is an existing dhcp host entry in network '{model.name}' that matches "
            f"\"<host mac='{mac}' name='{name}' ip='{address or 'unknown'}'/>\""
        )
    _insert(hosts, host, command)


def _dhcp_range(model: NetworkModel, command: int, parent: int, element: Element) -> None:
    subnet = _subnet(model, parent)
    if command == MODIFY:
        raise _impossible("dhcp ranges cannot be modified, only added or deleted")
    found = DhcpRange.read(element, model.name, subnet)
    same = [one for one in subnet.ranges if (one.start, one.end) == (found.start, found.end)]
    if command in ADDS:
        _check_only_server(model, subnet)
        if same:
            raise _invalid(
                f"there is an existing dhcp range entry in network '{model.name}' that matches "
                f"\"<range start='{format_address(found.start)}' end='{format_address(found.end)}'/>\""
            )
        _insert(subnet.ranges, found, command)
    elif command == DELETE:
        if not same:
            raise _invalid(f"couldn't locate a matching dhcp range entry in network '{model.name}'")
        subnet.ranges.remove(same[0])
    else:
        raise _unknown(command)


def _forward_interface(model: NetworkModel, command: int, parent: int, element: Element) -> None:
    if command == MODIFY:
        raise _impossible("forward interface entries cannot be modified, only added or deleted")
    name = element.get("dev")
    if name is None:
        raise refused("missing dev attribute in <interface> element")
    names = model.forward.interfaces
    if command in ADDS:
        if name in names:
            raise _invalid(
                f"there is an existing interface entry in network '{model.name}' that matches "
                f"\"<interface dev='{name}'>\""
            )
        _insert(names, name, command)
    elif command == DELETE:
        if name not in names:
            raise _invalid(
                f"couldn't find an interface entry in network '{model.name}' matching "
                f"<interface dev='{name}'>"
            )
        names.remove(name)
    else:
        raise _unknown(command)


def _port_group(model: NetworkModel, command: int, parent: int, element: Element) -> None:
    group = PortGroup.read(element)
    groups = model.port_groups
    place = next((number for number, one in enumerate(groups) if one.name == group.name), None)
    default = next((number for number, one in enumerate(groups) if one.default), None)
    if place is None and command in (MODIFY, DELETE):
        raise _invalid(
            f"couldn't find a portgroup entry in network '{model.name}' matching "
            f"<portgroup name='{group.name}'>"
        )
    if place is not None and command in ADDS:
        raise _invalid(
            f"there is an existing portgroup entry in network '{model.name}' that matches "
            f"\"<portgroup name='{group.name}'>\""
        )
    if command != DELETE and group.default and default is not None and default != place:
        raise _invalid(
            f"a different portgroup entry in network '{model.name}' is already set as the default. "
            "Only one default is allowed."
        )
    if command == MODIFY and place is not None:
        groups[place] = group
    elif command == DELETE and place is not None:
        del groups[place]
    elif command in ADDS:
        _insert(groups, group, command)
    else:
        raise _unknown(command)


def _dns_host(model: NetworkModel, command: int, parent: int, element: Element) -> None:
    host = DnsHost.read(element, model.name, partial=command not in ADDS)
    adds = command in ADDS
    # Several addresses may share a name, so only a delete command goes by names.
    same = [
        one
        for one in model.dns.hosts
        if one.address == host.address or (not adds and set(one.names) & set(host.names))
    ]
    texts = (
        "there is already at least one DNS HOST record with a matching field in network",
        "couldn't locate a matching DNS HOST record in network",
        "multiple matching DNS HOST records were found in network",
    )
    _dns_record(model, model.dns.hosts, host, same, command, texts)


def _dns_text(model: NetworkModel, command: int, parent: int, element: Element) -> None:
    record = DnsText.read(element, model.name, partial=command not in ADDS)
    same = [one for one in model.dns.texts if one.name == record.name]
    texts = (
        f"there is already a DNS TXT record with name '{record.name}' in network",
        "couldn't locate a matching DNS TXT record in network",
        "",
    )
    _dns_record(model, model.dns.texts, record, same[:1], command, texts)


def _dns_service(model: NetworkModel, command: int, parent: int, element: Element) -> None:
    record = DnsService.read(element, model.name, partial=command not in ADDS)
    same = [one for one in model.dns.services if record.matches(one)]
    texts = (
        "there is already at least one DNS SRV record matching all specified fields in network",
        "couldn't locate a matching DNS SRV record in network",
        "multiple DNS SRV records matching all specified fields were found in network",
    )
    _dns_record(model, model.dns.services, record, same, command, texts)


def _dns_record(
    model: NetworkModel, records: list[T], record: T, same: list[T], command: int, texts: tuple[str, str, str]
) -> None:
    """Add or delete a record; ``texts`` are those for one that is there, that is not, that are several."""
    there, missing, several = texts
    if command in ADDS:
        if same:
            raise _invalid(f"{there} {model.name}")
        _insert(records, record, command)
    elif command == DELETE:
        if not same:
            raise _invalid(f"{missing} {model.name}")
        if len(same) > 1:
            raise _invalid(f"{several} {model.name}")
        records.remove(same[0])
    else:
        raise _unknown(command)


_HANDLERS: Final[dict[int, tuple[str, Callable[[NetworkModel, int, int, Any], None]]]] = {
    c.VIR_NETWORK_SECTION_IP_DHCP_HOST: ("host", _dhcp_host),
    c.VIR_NETWORK_SECTION_IP_DHCP_RANGE: ("range", _dhcp_range),
    c.VIR_NETWORK_SECTION_FORWARD_INTERFACE: ("interface", _forward_interface),
    c.VIR_NETWORK_SECTION_PORTGROUP: ("portgroup", _port_group),
    c.VIR_NETWORK_SECTION_DNS_HOST: ("host", _dns_host),
    c.VIR_NETWORK_SECTION_DNS_TXT: ("txt", _dns_text),
    c.VIR_NETWORK_SECTION_DNS_SRV: ("srv", _dns_service),
}
