"""What processor the host has: /proc/cpuinfo, and the CPU model that describes it best.

Linux names the features of an x86 CPU in its own words. They are translated into libvirt's, and the CPU is
described as the model of which it has everything, with what it has besides: that of its own family and model
number if there is such a one, else the one that leaves least to add. Features that only a model-specific
register tells (``rdctl-no`` and its like) do not stand in /proc/cpuinfo, and are not listed.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from remotevirt.drivers.cpu.x86_models import FEATURES, X86_MODELS, X86Model
from remotevirt.drivers.host.files import Files

__all__ = ["Processor", "read_clock", "read_processor"]

RECORD_MAXIMUM: Final = 16 * 1024
"""Bytes of /proc/cpuinfo that are read: more than the first CPU's record."""

VENDORS: Final = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}

RENAMED: Final[dict[str, str]] = {
    "pclmulqdq": "pclmuldq",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "tsc_deadline_timer": "tsc-deadline",
    "sha_ni": "sha-ni",
    "intel_pt": "intel-pt",
    "cr8_legacy": "cr8legacy",
    "nonstop_tsc": "invtsc",
    "dts": "ds",
    "cqm_mbm_total": "mbm_total",
    "cqm_mbm_local": "mbm_local",
    "arch_capabilities": "arch-capabilities",
    "core_capabilities": "core-capability",
    "split_lock_detect": "split-lock-detect",
    "md_clear": "md-clear",
    "arch_lbr": "arch-lbr",
    "avx_vnni": "avx-vnni",
    "virt_ssbd": "virt-ssbd",
    "nrip_save": "nrip-save",
    "tsc_scale": "tsc-scale",
    "vmcb_clean": "vmcb-clean",
    "pausefilter": "pause-filter",
    "v_vmsave_vmload": "v-vmsave-vmload",
    "svm_lock": "svm-lock",
    "svme_addr_chk": "svme-addr-chk",
    "avx512_bf16": "avx512-bf16",
    "avx512_fp16": "avx512-fp16",
    "avx512_4vnniw": "avx512-4vnniw",
    "avx512_4fmaps": "avx512-4fmaps",
    "avx512_vp2intersect": "avx512-vp2intersect",
    "avx512_vpopcntdq": "avx512-vpopcntdq",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni",
    "avx512_bitalg": "avx512bitalg",
    "amx_bf16": "amx-bf16",
    "amx_tile": "amx-tile",
    "amx_int8": "amx-int8",
    "tsxldtrk": "tsx-ldtrk",
    "bus_lock_detect": "bus-lock-detect",
    "sgx_lc": "sgxlc",
}
"""Features whose names differ: Linux's, and libvirt's."""

IMPLIED: Final[dict[str, str]] = {"xsave": "osxsave"}
"""What Linux switches on where it finds the other, without a word of it."""

OF_INTEL: Final[dict[str, str]] = {"ibrs": "spec-ctrl", "stibp": "stibp", "ssbd": "ssbd"}
OF_AMD: Final[dict[str, str]] = {"ibrs": "ibrs", "ibpb": "ibpb", "stibp": "amd-stibp", "ssbd": "amd-ssbd"}
"""Linux has one name for what the vendors do in different ways."""

_MHZ: Final = re.compile(r"(\d{1,7})(?:\.\d*)?")

SIGNATURES: Final[dict[str, tuple[int, frozenset[int], frozenset[int] | None]]] = {
    name: (family, frozenset(models), None)
    for names, family, models in (
        ("Conroe", 6, (15, 22)),
        ("Penryn", 6, (23, 29)),
        ("Nehalem Nehalem-IBRS", 6, (26, 30, 31, 46)),
        ("Westmere", 6, (37, 44, 47)),
        ("Westmere-IBRS", 6, (44,)),
        ("SandyBridge SandyBridge-IBRS", 6, (42, 45)),
        ("IvyBridge IvyBridge-IBRS", 6, (58, 62)),
        ("Haswell-noTSX Haswell-noTSX-IBRS Haswell Haswell-IBRS", 6, (60, 63, 69, 70)),
        ("Broadwell-noTSX Broadwell-noTSX-IBRS Broadwell Broadwell-IBRS", 6, (61, 71, 79, 86)),
        ("Skylake-Client Skylake-Client-IBRS", 6, (78, 94, 142, 158)),
        ("Icelake-Client", 6, (126,)),
        ("Icelake-Server", 6, (106,)),
        ("Snowridge", 6, (134,)),
        ("Opteron_G1 Opteron_G2 Opteron_G3", 15, (6,)),
        ("Opteron_G4", 21, (1,)),
        ("Opteron_G5", 21, (2,)),
        ("EPYC EPYC-IBPB", 23, (1,)),
        ("EPYC-Rome", 23, (49,)),
        ("EPYC-Milan", 25, (1,)),
        ("Dhyana", 24, (0,)),
    )
    for name in names.split()
} | {
    "Skylake-Server": (6, frozenset({85}), frozenset(range(5))),
    "Skylake-Server-IBRS": (6, frozenset({85}), frozenset(range(5))),
    "Cascadelake-Server": (6, frozenset({85}), frozenset(range(5, 8))),
    "Cooperlake": (6, frozenset({85}), frozenset({10, 11})),
}
"""The family, model numbers and steppings (None for any) of the CPUs that a model describes."""


@attrs.frozen
class Processor:
    """The host's processor.

    Attributes:
        arch: of the kernel, in libvirt's words.
        model, vendor: in libvirt's words; None where no model describes it.
        features: what it has besides the model's, in libvirt's order.
        all_features: everything that it has, by libvirt's names.
        signature: family, model and stepping; None where there is none.
        microcode: its version.
        address_bits: of a physical address.
    """

    arch: str
    model: str | None = None
    vendor: str | None = None
    features: tuple[str, ...] = ()
    all_features: frozenset[str] = frozenset()
    signature: tuple[int, int, int] | None = None
    microcode: int | None = None
    address_bits: int | None = None


def _first_record(files: Files) -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first CPU."""
    text = files.read("/proc/cpuinfo", RECORD_MAXIMUM) or ""
    pairs = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def read_clock(files: Files) -> int:
    """Return the clock of the first CPU as it is now, in whole MHz; 0 where the kernel does not say."""
    record = _first_record(files)
    mhz = _MHZ.match(record.get("cpu MHz") or record.get("clock") or record.get("BogoMIPS") or "")
    return int(mhz[1]) if mhz else 0


def read_processor(files: Files, arch: str) -> Processor:
    """Read what the first CPU is."""
    return _describe(arch, _first_record(files)) if arch in {"x86_64", "i686"} else Processor(arch)


def _number(text: str | None, base: int = 10) -> int | None:
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None


def _describe(arch: str, record: dict[str, str]) -> Processor:
    """Describe an x86 CPU."""
    vendor = VENDORS.get(record.get("vendor_id", ""))
    numbers = [_number(record.get(name)) for name in ("cpu family", "model", "stepping")]
    family, model, stepping = (number or 0 for number in numbers)
    signature = None if None in numbers else (family, model, stepping)
    has = _features(record.get("flags", "").split(), vendor)
    best = _best_model(has, vendor, signature)
    bits = re.match(r"(\d{1,3}) bits physical", record.get("address sizes", ""))
    return Processor(
        arch,
        best.name if best else None,
        vendor,
        tuple(name for name in FEATURES if best and name in has - best.features),
        has,
        signature,
        _number(record.get("microcode"), 0),
        int(bits[1]) if bits else None,
    )


def _features(flags: list[str], vendor: str | None) -> frozenset[str]:
    """Return features by libvirt's names."""
    of_vendor = OF_INTEL if vendor == "Intel" else OF_AMD
    either = OF_INTEL.keys() | OF_AMD.keys()
    found = set()
    for flag in flags:
        found.add(of_vendor.get(flag, "") if flag in either else RENAMED.get(flag, flag))
        found.add(IMPLIED.get(flag, ""))
    return frozenset(found.intersection(FEATURES))


def _is_described_by(signature: tuple[int, int, int] | None, name: str) -> bool:
    """Return whether a model is of a CPU's own family and model number."""
    known = SIGNATURES.get(name)
    if known is None or signature is None:
        return False
    family, models, steppings = known
    return signature[0] == family and signature[1] in models and (not steppings or signature[2] in steppings)


def _best_model(
    has: frozenset[str], vendor: str | None, signature: tuple[int, int, int] | None
) -> X86Model | None:
    """Return the model that describes a CPU; None if it lacks something of every one."""
    best: tuple[bool, int] | None = None
    found = None
    for model in reversed(X86_MODELS.values()):
        if not model.usable or (model.vendor not in {None, vendor}) or not model.features <= has:
            continue
        rank = (_is_described_by(signature, model.name), -len(has - model.features))
        if best is None or rank > best:
            best, found = rank, model
    return found
