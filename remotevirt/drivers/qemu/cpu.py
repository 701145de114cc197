"""Whether the host's CPU can do what a CPU in a document can, as libvirt's CPU driver for x86 decides it."""

from __future__ import annotations

from typing import Final

import attrs

from remotevirt.drivers.cpu.x86_models import FEATURES, X86_MODELS
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import CpuIncompatible, InternalError, XmlError
from remotevirt.xml.host_cpu import MAX_FEATURES
from remotevirt.xml.parse import Element, child_elements, local_name, parse_fragment, text_of
from remotevirt.xml.schema import SCHEMAS, validate_document

__all__ = ["HostCpu", "compare"]

POLICIES: Final = ("force", "require", "optional", "disable", "forbid")
"""What a document can want of a feature; nothing said is the second."""

ORDER: Final = {name: place for place, name in enumerate(FEATURES)}


@attrs.frozen
class HostCpu:
    """What is compared with.

    Attributes:
        arch: in libvirt's words.
        features: all that it has, by libvirt's names; None where that is not known.
        vendor: libvirt's word, None for one that has none.
    """

    arch: str
    features: frozenset[str] | None = None
    vendor: str | None = None


def compare(text: str, host: HostCpu, *, strict: bool = False, validate: bool = False) -> int:
    """Compare a document's CPU with one that there is.

    Args:
        text: the document, of a host's CPU or a guest's.
        host: what there is.
        strict: an incompatible CPU is an error that says why.
        validate: refuse what libvirt's schema does not know.

    Returns:
        VIR_CPU_COMPARE_*.

    Raises:
        VirError: the document is wrong, nothing is known of the host, or see ``strict``.
    """
    root = parse_fragment(text, source="(CPU_definition)", domain=c.VIR_FROM_CPU)
    if local_name(root) != "cpu":
        raise XmlError("XML does not contain expected 'cpu' element", domain=c.VIR_FROM_CPU)
    if validate:
        validate_document(root, SCHEMAS / "cpu.rng")
    complaint, superset = _judge(root, host)
    if complaint is not None:
        if strict:
            raise CpuIncompatible(complaint, domain=c.VIR_FROM_CPU)
        return c.VIR_CPU_COMPARE_INCOMPATIBLE
    return c.VIR_CPU_COMPARE_SUPERSET if superset else c.VIR_CPU_COMPARE_IDENTICAL


def _judge(root: Element, host: HostCpu) -> tuple[str | None, bool]:
    """Return what stands against a CPU, if anything does, and whether the host has more than it."""
    children = child_elements(root)
    words = {name: text_of(children[name][0]) for name in ("arch", "model", "vendor") if name in children}
    if words.get("arch") and words["arch"] != host.arch:
        return f"CPU arch {words['arch']} does not match host arch", False
    if not words.get("model") or root.get("mode") in ("host-model", "host-passthrough", "maximum"):
        return None, True
    if host.features is None:
        raise _unknown("cannot get host CPU capabilities")
    model = X86_MODELS.get(words["model"])
    if model is None:
        raise _unknown(f"Unknown CPU model {words['model']}")
    wanted = _policies(children.get("feature", []))
    vendor = words.get("vendor")
    if vendor and vendor != host.vendor:
        return f"host CPU vendor does not match required CPU vendor {vendor}", False
    has = host.features
    forbidden = wanted["forbid"] & has
    if forbidden:
        return f"Host CPU provides forbidden features: {_listed(forbidden)}", False
    needed = (model.features | wanted["require"]) - wanted["optional"] - wanted["disable"] - wanted["force"]
    missing = needed - wanted["forbid"] - has
    if missing:
        return f"Host CPU does not provide required features: {_listed(missing)}", False
    more = has - model.features - frozenset().union(*wanted.values())
    if more and root.get("match") == "strict":
        return f"Host CPU does not strictly match CPU definition: extra features: {_listed(more)}", False
    return None, bool(more)


def _policies(elements: list[Element]) -> dict[str, frozenset[str]]:
    """Return the features that a document names, by policy."""
    if len(elements) > MAX_FEATURES:
        raise XmlError(f"more than {MAX_FEATURES} CPU features", domain=c.VIR_FROM_CPU)
    found: dict[str, set[str]] = {policy: set() for policy in POLICIES}
    seen: set[str] = set()
    for element in elements:
        name = element.get("name")
        if not name:
            raise XmlError("Invalid CPU feature name", domain=c.VIR_FROM_CPU)
        if name in seen:
            raise XmlError(f"CPU feature '{name}' specified more than once", domain=c.VIR_FROM_CPU)
        seen.add(name)
        policy = element.get("policy") or "require"
        if policy not in found:
            raise _unknown("Invalid CPU feature policy")
        if name not in ORDER:
            raise _unknown(f"Unknown CPU feature {name}")
        found[policy].add(name)
    return {policy: frozenset(names) for policy, names in found.items()}


def _listed(features: frozenset[str]) -> str:
    return ", ".join(sorted(features, key=ORDER.__getitem__))


def _unknown(text: str) -> VirError:
    return InternalError(text, domain=c.VIR_FROM_CPU)
