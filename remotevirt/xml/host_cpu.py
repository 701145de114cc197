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

from typing import ClassVar, Final

import attrs

from remotevirt.stubs.constants import VIR_FROM_CPU
from remotevirt.stubs.errors import ConfigUnsupported, XmlError
from remotevirt.xml.domain.cpu import Cache, MaxPhysAddr, Topology
from remotevirt.xml.domain.os import ARCHITECTURES
from remotevirt.xml.fields import Model, Reading, attribute
from remotevirt.xml.parse import Element, local_name, parse_fragment, text_of
from remotevirt.xml.values import Integer, unsupported, yes_no
from remotevirt.xml.write import Tag, leaf, render

__all__ = ["HostCpu", "format_guest_cpu", "parse_host_cpu"]

MAX_FEATURES: Final = 4096
"""Features that one CPU may have; libvirt knows a few hundred."""


@attrs.define
class Microcode(Model):
    TAG: ClassVar[str] = "microcode"
    version: int | None = attribute(
        "version", Integer(refusal=unsupported("invalid microcode version", VIR_FROM_CPU))
    )


@attrs.define
class Signature(Model):
    TAG: ClassVar[str] = "signature"
    family: int = attribute("family", Integer(), required=True)
    model: int = attribute("model", Integer(), required=True)
    stepping: int = attribute("stepping", Integer(), required=True)


@attrs.define
class TscCounter(Model):
    TAG: ClassVar[str] = "counter"
    frequency: int = attribute("frequency", Integer(bits=64), required=True)
    scaling: bool | None = attribute("scaling", yes_no())


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
    if root.get("migratable") is not None:
        text = "Attribute migratable is only allowed for 'host-passthrough' / 'maximum' CPU mode"
        raise ConfigUnsupported(text, domain=VIR_FROM_CPU)
    arch = _text(root, "arch")
    if not arch:
        raise XmlError("Missing CPU architecture", domain=VIR_FROM_CPU)
    if arch not in ARCHITECTURES:
        raise ConfigUnsupported(f"Unknown architecture {arch}", domain=VIR_FROM_CPU)
    _check(root, Microcode, Signature)
    counter = root.find("counter")
    if counter is not None and counter.get("name") == "tsc":
        _check(root, TscCounter)
    model = _text(root, "model")
    if not model:
        raise XmlError("Missing CPU model name", domain=VIR_FROM_CPU)
    _check(root, Topology)
    features = _features(root)
    _check(root, Cache, MaxPhysAddr)
    return HostCpu(arch, model, _text(root, "vendor"), features)


def _check(root: Element, *kinds: type[Model]) -> None:
    """Check child elements that a baseline does not need; raises VirError."""
    for kind in kinds:
        found = root.find(kind.TAG)
        if found is not None:
            kind.read(found, Reading())


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
