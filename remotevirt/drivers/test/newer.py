"""What libvirt's test driver has learnt since 9.0.0: the option ``newer`` of the driver ``test``.

libvirt 9.0.0 answers "not supported" to all of it, and so do we without the option. With it there are devices
that come and go (:mod:`remotevirt.drivers.test.hotplug`), domain capabilities (libvirt 9.8.0), titles,
descriptions and metadata of networks (9.7.0), and the state of node devices (10.3.0).
"""

from __future__ import annotations

import attrs

from remotevirt.drivers.domains.namespaces import element_text, find_element, replace_element, stored_element
from remotevirt.drivers.faults import argument_error, check_flags
from remotevirt.drivers.metadata import DESCRIPTION, MAX_METADATA, TITLE, check_asked, check_changed
from remotevirt.drivers.test.hotplug import HotplugCalls
from remotevirt.drivers.test.hypervisor import TestHypervisor
from remotevirt.drivers.test.networks import CONFIG, LIVE, TestNetworks
from remotevirt.drivers.test.nodedevs import TestDevices
from remotevirt.drivers.test.object_events import network_metadata_change
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, NoNetworkMetadata
from remotevirt.stubs.remote import NonnullNetwork
from remotevirt.xml.domain.document import VIRT_TYPES
from remotevirt.xml.domain.metadata import Metadata
from remotevirt.xml.domain.os import ARCHITECTURES
from remotevirt.xml.network import NetworkModel
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["NewerCalls", "NewerDevices", "NewerHypervisor", "NewerNetworks"]

CPU_MODES = ("host-passthrough", "maximum", "host-model", "custom")
FEATURES = ("sev", "sgx")


class NewerCalls(HotplugCalls):
    """Calls about domains that libvirt 9.0.0's test driver does not have."""

    def connect_get_domain_capabilities(
        self, emulatorbin: str | None, arch: str | None, machine: str | None, virttype: str | None, flags: int
    ) -> str:
        """Return that a guest can be given nothing, since it does not exist.

        Raises:
            InvalidArg: there is no such architecture, or no such kind of guest.
        """
        check_flags(flags, 0, "testConnectGetDomainCapabilities")
        if arch is not None and arch not in ARCHITECTURES:
            raise InvalidArg(f"unknown architecture: {arch}", domain=c.VIR_FROM_TEST)
        if virttype is not None and virttype not in VIRT_TYPES.split():
            raise InvalidArg(f"unknown virttype: {virttype}", domain=c.VIR_FROM_TEST)
        made = Tag("domainCapabilities")
        for name, value in (
            ("path", emulatorbin),
            ("domain", virttype or "test"),
            ("machine", machine),
            ("arch", arch or "i686"),
        ):
            if value is not None:
                made.add(leaf(name, value))
        cpu, features = Tag("cpu"), Tag("features")
        for mode in CPU_MODES:
            cpu.add(Tag("mode").set("name", mode).set("supported", "no"))
        for feature in FEATURES:
            features.add(Tag(feature).set("supported", "no"))
        for part in (cpu, Tag("devices", hold=True), features):
            made.add(part)
        return render(made)


class NewerHypervisor(NewerCalls, TestHypervisor):
    """The hypervisor sub-driver of a connection to a test hypervisor with the option ``newer``."""


class NewerNetworks(TestNetworks):
    """The network sub-driver with metadata; titles and descriptions stand in documents too."""

    titled = True

    def network_get_metadata(self, network: NonnullNetwork, type: int, uri: str | None, flags: int) -> str:
        """Return a title, a description, or the element of a namespace.

        Raises:
            NoNetworkMetadata: there is none.
        """
        check_asked("virNetworkGetMetadata", type, uri, c.VIR_FROM_NETWORK)
        check_flags(flags, LIVE | CONFIG, "testNetworkGetMetadata")
        found = self._by_uuid(network.uuid)
        _check_type(type)
        if flags & LIVE and flags & CONFIG:
            text = (
                "Flags 'VIR_NETWORK_UPDATE_AFFECT_LIVE' and 'VIR_NETWORK_UPDATE_AFFECT_CONFIG' are mutually"
                " exclusive"
            )
            raise argument_error("virNetworkObjGetOneDefState", "flags", text, c.VIR_FROM_NETWORK)
        impact = self.impact(found, flags)
        text_found = _read(found.live if impact & LIVE else found.pending or found.live, type, uri)
        if not text_found:
            text = "Requested metadata element is not present"
            raise NoNetworkMetadata(text, domain=c.VIR_FROM_NETWORK)
        return text_found

    def network_set_metadata(
        self,
        network: NonnullNetwork,
        type: int,
        metadata: str | None,
        key: str | None,
        uri: str | None,
        flags: int,
    ) -> None:
        """Change, or with ``metadata`` None remove, a title, a description or an element.

        Args:
            network: the network.
            type: of virNetworkMetadataType.
            metadata: the text; for an element, XML.
            key: prefix of the element's namespace.
            uri: the element's namespace.
            flags: virNetworkUpdateFlags; both definitions at once are possible.
        """
        check_changed("virNetworkSetMetadata", type, metadata, key, uri, c.VIR_FROM_NETWORK)
        check_flags(flags, LIVE | CONFIG, "testNetworkSetMetadata")
        found = self._by_uuid(network.uuid)
        impact = self.impact(found, flags)
        _check_type(type)
        size = len(metadata or "") + len(key or "") + len(uri or "")
        if found.size + size > MAX_METADATA:
            text = f"a network may hold {MAX_METADATA} characters"
            raise InvalidArg(text, domain=c.VIR_FROM_NETWORK)
        changed = {
            kind: _written(model, type, metadata, key, uri)
            for kind, model in ((LIVE, found.live), (CONFIG, found.pending or found.live))
            if impact & kind
        }
        self.networks.touch(found)
        self.networks.grow(size)
        found.size += size
        self.put(found, changed.get(LIVE), changed.get(CONFIG))
        self.hub.publish(network_metadata_change(found.ref, type, uri))


def _check_type(type: int) -> None:
    if not DESCRIPTION <= type < c.VIR_NETWORK_METADATA_LAST:
        raise InvalidArg(f"unknown metadata type '{type}'", domain=c.VIR_FROM_NETWORK)


def _read(model: NetworkModel, type: int, uri: str | None) -> str | None:
    """Return what a definition has of one kind of metadata."""
    if type == TITLE:
        return model.title
    if type == DESCRIPTION:
        return model.description
    element = None if model.metadata is None else find_element(model.metadata.root, uri or "")
    return None if element is None else element_text(element, uri or "")


def _written(
    model: NetworkModel, type: int, metadata: str | None, key: str | None, uri: str | None
) -> NetworkModel:
    """Return a copy with other metadata."""
    if type == TITLE:
        return attrs.evolve(model, title=metadata or None)
    if type == DESCRIPTION:
        return attrs.evolve(model, description=metadata or None)
    if model.metadata is None and metadata is None:
        return model
    element = None if metadata is None else stored_element(metadata, uri or "", key or "")
    root = None if model.metadata is None else model.metadata.root
    return attrs.evolve(model, metadata=Metadata(replace_element(root, uri or "", element)))


class NewerDevices(TestDevices):
    """The node device sub-driver; whatever device is there is active."""

    def node_device_is_active(self, name: str) -> int:
        """Return 1: a device that is known is there."""
        self.devices.named(name)
        return 1

    def node_device_is_persistent(self, name: str) -> int:
        """Return 1 unless the device is a virtual adapter, which nobody has defined."""
        return int(self.devices.named(name).lasts)
