"""The richest CPU that all of some hosts have.

For x86, a CPU is a set of features (:mod:`remotevirt.drivers.cpu.x86_models`). What all hosts have is the
intersection; it is then described as a model and the differences from it: features that it has besides
(``require``) and that it lacks (``disable``). Of all models, from the newest to the oldest, the one with the
fewest differences is taken, where what is lacking weighs more; a model that a host named is taken instead of
a better one of which more is lacking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from remotevirt.drivers.cpu.models import CPU_MODELS, WITHOUT_DRIVER
from remotevirt.drivers.cpu.x86_models import FEATURES, X86_MODELS, X86Model
from remotevirt.drivers.faults import argument_must
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, NoSupport, OperationFailed
from remotevirt.xml.host_cpu import HostCpu, format_guest_cpu, parse_host_cpu

__all__ = ["baseline", "describe", "need_cpus"]

ARM: Final = frozenset({"armv6l", "armv7l", "armv7b", "aarch64"})
POWER: Final = frozenset({"ppc64", "ppc64le"})
X86: Final = frozenset({"i686", "x86_64"})

VENDORS: Final = ("Intel", "AMD", "Hygon")
"""Who makes x86 CPUs."""

POWER_VENDORS: Final = ("IBM", "Freescale")
"""Who makes POWER CPUs."""

ORDER: Final[dict[str, int]] = {name: number for number, name in enumerate(FEATURES)}
"""The place of each feature in libvirt's list."""

Policies = list[tuple[str, str]]
"""Differences from a model: features, and "require" or "disable"."""


def baseline(documents: Sequence[str], *, expand: bool, limit: frozenset[str] | None = None) -> str:
    """Return the document of the richest CPU that some hosts have in common.

    Args:
        documents: the hosts' CPUs, one at least.
        expand: list the model's own features too.
        limit: the features that it may have at most, for x86; None for no such limit.

    Raises:
        VirError: they have nothing in common, come from different vendors, or are not known.
    """
    cpus = [parse_host_cpu(text) for text in documents]
    arch = cpus[0].arch
    if arch in X86:
        return _x86_baseline(cpus, expand=expand, limit=limit)
    if arch in POWER:
        return _power_baseline(cpus)
    if arch in ARM:
        return format_guest_cpu(cpus[0].model, fallback=True, vendor=None, policies=[])
    if arch in WITHOUT_DRIVER:
        text = f"'{arch}' architecture is not supported by CPU driver"
    else:
        text = f"cannot compute baseline CPU of {arch} architecture"
    raise NoSupport(text, domain=c.VIR_FROM_CPU)


def need_cpus(documents: Sequence[str], function: str) -> None:
    """Refuse to work on nothing, as the public API does."""
    if not documents:
        raise argument_must(function, "xmlCPUs", "not be NULL")


def _power_baseline(cpus: Sequence[HostCpu]) -> str:
    """Return the model of POWER CPUs, which must be the same; raises InternalError, OperationFailed."""
    model = cpus[0].model
    if model not in CPU_MODELS["ppc64"]:
        raise InternalError(f"Unknown CPU model {model}", domain=c.VIR_FROM_CPU)
    maker = "Freescale" if model.startswith("POWERPC_") else "IBM"
    for cpu in cpus:
        if cpu.model != model:
            raise OperationFailed("CPUs are incompatible", domain=c.VIR_FROM_CPU)
        if cpu.vendor is None or cpu.vendor == maker:
            continue
        text = f"Unknown CPU vendor {cpu.vendor}"
        if cpu.vendor in POWER_VENDORS:
            text = f"CPU vendor {maker} of model {model} differs from vendor {cpu.vendor}"
        raise OperationFailed(text, domain=c.VIR_FROM_CPU)
    return format_guest_cpu(model, fallback=False, vendor=None, policies=[])


def _x86_baseline(cpus: Sequence[HostCpu], *, expand: bool, limit: frozenset[str] | None) -> str:
    """Return the document of what x86 CPUs have in common; raises InternalError, OperationFailed."""
    features = _x86_features(cpus[0])
    vendor = cpus[0].vendor
    if vendor is not None and vendor not in VENDORS:
        raise OperationFailed(f"Unknown CPU vendor {vendor}", domain=c.VIR_FROM_CPU)
    for cpu in cpus[1:]:
        features &= _x86_features(cpu)
        vendor = _common_vendor(vendor, cpu)
    if limit is not None:
        features &= limit
    if not features:
        raise OperationFailed("CPUs are incompatible", domain=c.VIR_FROM_CPU)
    named = {cpu.model for cpu in cpus}
    model, policies = describe(features, vendor, named)
    if expand:
        policies = sorted((dict.fromkeys(model.features, "require") | dict(policies)).items())
    return format_guest_cpu(
        model.name,
        fallback=named != {model.name},
        vendor=vendor if all(cpu.vendor for cpu in cpus) else None,
        policies=policies,
    )


def _x86_features(cpu: HostCpu) -> frozenset[str]:
    """Return all that a CPU has; raises InternalError."""
    model = X86_MODELS.get(cpu.model)
    if model is None:
        raise InternalError(f"Unknown CPU model {cpu.model}", domain=c.VIR_FROM_CPU)
    for feature in cpu.features:
        if feature not in ORDER:
            raise InternalError(f"Unknown CPU feature {feature}", domain=c.VIR_FROM_CPU)
    return model.features | set(cpu.features)


def _common_vendor(vendor: str | None, cpu: HostCpu) -> str | None:
    """Return the vendor of the CPUs so far and of one more; raises OperationFailed."""
    maker = X86_MODELS[cpu.model].vendor
    if cpu.vendor and maker and cpu.vendor != maker:
        text = f"CPU vendor {maker} of model {cpu.model} differs from vendor {cpu.vendor}"
        raise OperationFailed(text, domain=c.VIR_FROM_CPU)
    said = cpu.vendor or maker
    if said is None or said == vendor:
        return vendor
    if vendor is not None:
        raise OperationFailed("CPU vendors do not match", domain=c.VIR_FROM_CPU)
    if said not in VENDORS:
        raise OperationFailed(f"Unknown CPU vendor {said}", domain=c.VIR_FROM_CPU)
    return said


def describe(features: frozenset[str], vendor: str | None, named: set[str]) -> tuple[X86Model, Policies]:
    """Describe features as a model and the differences from it.

    Args:
        features: what there is.
        vendor: whose models may be taken, None for anybody's.
        named: models that are preferred where less of them is lacking; a single one is taken anyway.
    """
    best: tuple[X86Model, Policies] | None = None
    cost = (0, 0)
    for model in reversed(X86_MODELS.values()):
        if not model.usable or (vendor and model.vendor and vendor != model.vendor):
            continue
        policies = _differences(features, model)
        lacking = sum(policy == "disable" for _, policy in policies)
        if named == {model.name}:
            return model, policies
        # Each further lacking feature is meant to weigh more than the one before; libvirt 9.0.0 counts only
        # every other one as lacking, and the rest as if they were there.
        counted = (lacking + 1) // 2
        penalty = counted * (counted + 3) // 2
        weight = (len(policies) - counted + penalty, penalty)
        if best is None or weight < cost or (model.name in named and penalty < cost[1]):
            best, cost = (model, policies), weight
    assert best is not None  # some models have no vendor
    return best


def _differences(features: frozenset[str], model: X86Model) -> Policies:
    """Return how features differ from a model, in libvirt's order."""
    more = sorted(features - model.features, key=ORDER.__getitem__)
    less = sorted(model.features - features, key=ORDER.__getitem__)
    less += [feature for feature in model.removed if feature not in features]
    return [(feature, "require") for feature in more] + [(feature, "disable") for feature in less]
