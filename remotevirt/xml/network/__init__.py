"""The network document: reading it, changing one section of it, and printing it as libvirt does.

``parse_network`` turns a document into a :class:`NetworkModel` or raises a VirError with libvirt's words;
``format_network`` prints it, byte for byte as ``virsh net-dumpxml`` shows it for libvirt's test driver.
"""

from __future__ import annotations

from remotevirt.stubs.constants import VIR_FROM_NETWORK
from remotevirt.xml.network.document import NetworkModel
from remotevirt.xml.network.update import update_network
from remotevirt.xml.parse import Element, parse_document
from remotevirt.xml.schema import SCHEMAS, validate_document
from remotevirt.xml.write import render

__all__ = ["NetworkModel", "format_network", "parse_network", "read_network", "update_network"]


def parse_network(text: str, *, validate: bool = False, titled: bool = False) -> NetworkModel:
    """Read a network document.

    Args:
        text: the document.
        validate: refuse what libvirt's schema does not know.
        titled: keep title and description, as libvirt does from 9.7.0 on.

    Raises:
        VirError: with the code, domain and text that libvirt gives.
    """
    root = parse_document(text, root="network", source="(network_definition)", domain=VIR_FROM_NETWORK)
    if validate:
        validate_document(root, SCHEMAS / "network.rng")
    model = NetworkModel.read(root)
    if titled:
        model.read_title(root)
    return model


def read_network(element: Element) -> NetworkModel:
    """Read a network that stands inside another document; raises VirError."""
    return NetworkModel.read(element)


def format_network(model: NetworkModel) -> str:
    """Print a network, with a line end after it."""
    return render(model.element())
