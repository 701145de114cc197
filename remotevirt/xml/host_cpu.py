"""CPUs of hosts, as management programs collect them to find out what all hosts have.

::

    <cpu>
      <arch>x86_64</arch>
      <model>Penryn</model>
      <vendor>Intel</vendor>
      <feature name='vmx'/>
    </cpu>
"""

from __future__ import annotations

from typing import Final

import attrs

from remotevirt.stubs.constants import VIR_FROM_CPU
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.domain.cpu import Topology
from remotevirt.xml.domain.os import ARCHITECTURES
from remotevirt.xml.fields import Reading
from remotevirt.xml.parse import Element, local_name, parse_fragment, text_of
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["HostCpu", "format_guest_cpu", "parse_host_cpu"]

MAX_FEATURES: Final = 4096
"""Features that one CPU may have; libvirt knows a few hundred."""


@attrs.frozen
class HostCpu:
    """What a host's CPU is said to be.

    Attributes:
        arch, model, vendor: their names; the vendor is optional.
        features: names of what it has beyond the model.
    """

    arch: str
    model: str
    vendor: str | None
    features: tuple[str, ...]


def parse_host_cpu(text: str) -> HostCpu:
    """Read a document.

    Raises:
        VirError: with libvirt's code, domain and text.
    """
    root = parse_fragment(text, source="(CPU_definition)", domain=VIR_FROM_CPU)
    if local_name(root) != "cpu":
        raise XmlError("XML does not contain expected 'cpu' element", domain=VIR_FROM_CPU)
    if root.get("mode") is not None:
        raise ConfigUnsupported("Attribute mode is only allowed for guest CPU", domain=VIR_FROM_CPU)
    arch = _text(root, "arch")
    if not arch:
        raise XmlError("Missing CPU architecture", domain=VIR_FROM_CPU)
    if arch not in ARCHITECTURES:
        raise ConfigUnsupported(f"Unknown architecture {arch}", domain=VIR_FROM_CPU)
    model = _text(root, "model")
    if not model:
        raise XmlError("Missing CPU model name", domain=VIR_FROM_CPU)
    topology = root.find("topology")
    if topology is not None:
        Topology.read(topology, Reading())
    return HostCpu(arch, model, _text(root, "vendor"), _features(root))


def _text(root: Element, tag: str) -> str | None:
    """Return the text of a child element, None if there is none."""
    found = root.find(tag)
    return (text_of(found) or None) if found is not None else None


def _features(root: Element) -> tuple[str, ...]:
    """Return the names of features; raises XmlError."""
    names: dict[str, None] = {}
    for feature in root.findall("feature"):
        name = feature.get("name")
        if not name:
            raise XmlError("Invalid CPU feature name", domain=VIR_FROM_CPU)
        if name in names:
            raise XmlError(f"CPU feature '{name}' specified more than once", domain=VIR_FROM_CPU)
        names[name] = None
    if len(names) > MAX_FEATURES:
        raise XmlError(f"more than {MAX_FEATURES} CPU features", domain=VIR_FROM_CPU)
    return tuple(names)


def format_guest_cpu(
    model: str, *, fallback: bool, vendor: str | None, policies: list[tuple[str, str]]
) -> str:
    """Print a CPU that a guest may ask for.

    Args:
        model: its name.
        fallback: whether another model would do.
        vendor: its name, None not to ask for one.
        policies: name and policy of features, in order.
    """
    tag = Tag("cpu").set("mode", "custom").set("match", "exact")
    name = leaf("model", model)
    name.set("fallback", "allow" if fallback else "forbid")
    tag.add(name)
    if vendor is not None:
        tag.add(leaf("vendor", vendor))
    for feature, policy in policies:
        tag.add(Tag("feature").set("policy", policy).set("name", feature))
    return render(tag)
