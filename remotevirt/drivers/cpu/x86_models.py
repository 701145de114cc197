"""The x86 CPU models that libvirt 9.0.0 knows, and which features each has.

The names, and what they stand for, are libvirt's; each feature is one bit of what the CPUID instruction or a
model-specific register says, so that a CPU is a set of them.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["FEATURES", "X86_MODELS", "X86Model"]


@attrs.frozen
class X86Model:
    """A CPU model.

    Attributes:
        name: of the model; vendor: who makes it, None for one that nobody does.
        features: what it has.
        removed: what it once had: a CPU that is described as this model and lacks them says so.
        usable: whether a CPU may be described as this model.
    """

    name: str
    vendor: str | None
    features: frozenset[str]
    removed: tuple[str, ...]
    usable: bool


_NAMES: Final = """
fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 pn clflush ds acpi mmx fxsr
sse sse2 ss ht tm ia64 pbe pni pclmuldq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid fma cx16
xtpr pdcm pcid dca sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave osxsave avx f16c rdrand
hypervisor arat fsgsbase tsc_adjust sgx bmi1 hle avx2 smep bmi2 erms invpcid rtm cmt mpx avx512f
avx512dq rdseed adx smap avx512ifma pcommit clflushopt clwb intel-pt avx512pf avx512er avx512cd
sha-ni avx512bw avx512vl avx512vbmi umip pku ospke waitpkg avx512vbmi2 gfni vaes vpclmulqdq
avx512vnni avx512bitalg avx512-vpopcntdq la57 rdpid bus-lock-detect cldemote movdiri movdir64b sgxlc
pks avx512-4vnniw avx512-4fmaps fsrm avx512-vp2intersect md-clear serialize tsx-ldtrk pconfig
arch-lbr amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl stibp arch-capabilities core-capability
ssbd avx-vnni avx512-bf16 xsaveopt xsavec xgetbv1 xsaves xfd mbm_total mbm_local sgx1 sgx2
sgx-exinfo sgx-debug sgx-mode64 sgx-provisionkey sgx-tokenkey sgx-kss intel-pt-lip syscall nx mmxext
fxsr_opt pdpe1gb rdtscp lm 3dnowext 3dnow lahf_lm cmp_legacy svm extapic cr8legacy abm sse4a
misalignsse 3dnowprefetch osvw ibs xop skinit wdt lwp fma4 tce cvt16 nodeid_msr tbm topoext
perfctr_core perfctr_nb invtsc clzero xsaveerptr wbnoinvd ibpb ibrs amd-stibp amd-ssbd virt-ssbd
amd-no-ssb npt lbrv svm-lock nrip-save tsc-scale vmcb-clean flushbyasid decodeassists pause-filter
pfthreshold avic v-vmsave-vmload vgif svme-addr-chk rdctl-no ibrs-all rsba skip-l1dfl-vmentry ssb-no
mds-no pschange-mc-no tsx-ctrl taa-no split-lock-detect
"""

FEATURES: Final = tuple(_NAMES.split())
"""All features, in libvirt's order."""

UNUSABLE: Final = frozenset(
    {
        "cpu64-rhel5",
        "cpu64-rhel6",
        "Skylake-Client-noTSX-IBRS",
        "Skylake-Server-noTSX-IBRS",
        "Cascadelake-Server-noTSX",
        "Icelake-Client-noTSX",
        "Icelake-Server-noTSX",
    }
)
"""Models that older releases made, which no CPU is described as any more."""

_TABLE: Final[tuple[tuple[str, str | None, str | None, str], ...]] = (
    ("486", None, None, "+fpu +vme +pse"),
    ("pentium", None, "486", "+de +tsc +msr +mce +cx8 +mmx"),
    ("pentium2", None, "pentium", "+pae +sep +mtrr +pge +mca +cmov +pat +pse36 +fxsr"),
    ("pentium3", None, "pentium2", "+sse"),
    ("pentiumpro", None, "pentium3", "+apic +sse2 -vme -mtrr -mca -pse36"),
    ("coreduo", "Intel", "pentium3", "+apic +clflush +sse2 +pni +monitor +nx -pse36"),
    ("n270", "Intel", "coreduo", "+ssse3"),
    ("core2duo", "Intel", "n270", "+pse36 +syscall +lm"),
    ("qemu32", None, "pentiumpro", "+pni"),
    ("kvm32", None, "coreduo", "+pse36 -vme -monitor -nx"),
    ("cpu64-rhel5", None, "core2duo", "-vme -monitor -ssse3"),
    ("cpu64-rhel6", None, "cpu64-rhel5", "+cx16 +lahf_lm"),
    ("qemu64", None, "cpu64-rhel5", "+cx16 +svm"),
    ("kvm64", None, "cpu64-rhel5", "+cx16"),
    ("Conroe", "Intel", "cpu64-rhel5", "+ssse3 +lahf_lm"),
    ("Penryn", "Intel", "cpu64-rhel6", "+ssse3 +sse4.1"),
    ("Nehalem", "Intel", "Penryn", "+sse4.2 +popcnt"),
    ("Nehalem-IBRS", "Intel", "Nehalem", "+spec-ctrl"),
    ("Westmere", "Intel", "Nehalem", "+aes"),
    ("Westmere-IBRS", "Intel", "Nehalem-IBRS", "+aes"),
    ("SandyBridge", "Intel", "Westmere", "+pclmuldq +x2apic +tsc-deadline +xsave +avx +rdtscp"),
    ("SandyBridge-IBRS", "Intel", "SandyBridge", "+spec-ctrl"),
    ("IvyBridge", "Intel", "SandyBridge", "+vme +f16c +rdrand +fsgsbase +smep +erms"),
    ("IvyBridge-IBRS", "Intel", "IvyBridge", "+spec-ctrl"),
    (
        "Haswell-noTSX",
        "Intel",
        "SandyBridge",
        "+fma +pcid +movbe +fsgsbase +bmi1 +avx2 +smep +bmi2 +erms +invpcid",
    ),
    ("Haswell-noTSX-IBRS", "Intel", "Haswell-noTSX", "+spec-ctrl"),
    ("Haswell", "Intel", "Haswell-noTSX", "+hle +rtm"),
    ("Haswell-IBRS", "Intel", "Haswell", "+spec-ctrl"),
    ("Broadwell-noTSX", "Intel", "Haswell-noTSX", "+rdseed +adx +smap +3dnowprefetch"),
    ("Broadwell-noTSX-IBRS", "Intel", "Broadwell-noTSX", "+spec-ctrl"),
    ("Broadwell", "Intel", "Broadwell-noTSX", "+hle +rtm"),
    ("Broadwell-IBRS", "Intel", "Broadwell", "+spec-ctrl"),
    ("Skylake-Client", "Intel", "Broadwell", "+vme +f16c +rdrand +arat +mpx +xsaveopt +xsavec +xgetbv1 +abm"),
    ("Skylake-Client-IBRS", "Intel", "Skylake-Client", "+spec-ctrl"),
    ("Skylake-Client-noTSX-IBRS", "Intel", "Skylake-Client-IBRS", "-hle -rtm"),
    (
        "Skylake-Server",
        "Intel",
        "Skylake-Client",
        "+avx512f +avx512dq +clwb +avx512cd +avx512bw +avx512vl +pdpe1gb",
    ),
    ("Skylake-Server-IBRS", "Intel", "Skylake-Server", "+spec-ctrl"),
    ("Skylake-Server-noTSX-IBRS", "Intel", "Skylake-Server-IBRS", "-hle -rtm"),
    ("Cascadelake-Server", "Intel", "Skylake-Server-IBRS", "+clflushopt +avx512vnni +ssbd"),
    ("Cascadelake-Server-noTSX", "Intel", "Cascadelake-Server", "-hle -rtm"),
    (
        "Icelake-Client",
        "Intel",
        "Skylake-Client-IBRS",
        "+avx512vbmi +umip +pku +avx512vbmi2 +gfni +vaes +vpclmulqdq +avx512vnni +avx512bitalg "
        "+avx512-vpopcntdq +ssbd +wbnoinvd ~intel-pt",
    ),
    ("Icelake-Client-noTSX", "Intel", "Icelake-Client", "-hle -rtm ~intel-pt"),
    (
        "Icelake-Server",
        "Intel",
        "Icelake-Client",
        "+avx512f +avx512dq +clflushopt +clwb +avx512cd +avx512bw +avx512vl +la57 +pdpe1gb ~intel-pt",
    ),
    ("Icelake-Server-noTSX", "Intel", "Icelake-Server", "-hle -rtm ~intel-pt"),
    (
        "Cooperlake",
        "Intel",
        "Cascadelake-Server",
        "+pku +stibp +arch-capabilities +avx512-bf16 +rdctl-no +ibrs-all +skip-l1dfl-vmentry +mds-no "
        "+pschange-mc-no +taa-no -mpx",
    ),
    (
        "Snowridge",
        "Intel",
        "IvyBridge-IBRS",
        "+movbe +arat +rdseed +smap +clflushopt +clwb +sha-ni +umip +gfni +cldemote +movdiri +movdir64b "
        "+arch-capabilities +core-capability +ssbd +xsaveopt +xsavec +xgetbv1 +pdpe1gb +3dnowprefetch "
        "+split-lock-detect -avx -f16c",
    ),
    ("athlon", "AMD", "pentium3", "+apic +sse2 +mmxext +3dnowext +3dnow -mca"),
    ("phenom", "AMD", "cpu64-rhel5", "+monitor +mmxext +fxsr_opt +3dnowext +3dnow +svm"),
    ("Opteron_G1", "AMD", "cpu64-rhel5", ""),
    ("Opteron_G2", "AMD", "cpu64-rhel6", "+rdtscp +svm"),
    ("Opteron_G3", "AMD", "Opteron_G2", "+popcnt +abm +sse4a +misalignsse ~monitor"),
    (
        "Opteron_G4",
        "AMD",
        "SandyBridge",
        "+pdpe1gb +svm +abm +sse4a +misalignsse +3dnowprefetch +xop +fma4 -x2apic -tsc-deadline",
    ),
    ("Opteron_G5", "AMD", "Opteron_G4", "+fma +f16c +tbm"),
    (
        "EPYC",
        "AMD",
        "Skylake-Client-noTSX-IBRS",
        "+clflushopt +sha-ni +mmxext +fxsr_opt +pdpe1gb +svm +cr8legacy +sse4a +misalignsse +osvw -pcid "
        "-x2apic -tsc-deadline -erms -invpcid -mpx -spec-ctrl ~monitor",
    ),
    ("EPYC-IBPB", "AMD", "EPYC", "+ibpb ~monitor"),
    (
        "EPYC-Rome",
        "AMD",
        "EPYC-IBPB",
        "+clwb +umip +rdpid +perfctr_core +clzero +xsaveerptr +wbnoinvd +amd-stibp +npt +nrip-save",
    ),
    (
        "EPYC-Milan",
        "AMD",
        "EPYC-Rome",
        "+pcid +erms +invpcid +pku +fsrm +xsaves +ibrs +amd-ssbd +svme-addr-chk",
    ),
    ("Dhyana", "Hygon", "EPYC-IBPB", "-pclmuldq -aes -sha-ni ~monitor"),
)
"""Name, vendor, the model that it is described from, and what it has more (+), less (-) and lost (~)."""


def _models() -> dict[str, X86Model]:
    """Return the models by name, in libvirt's order."""
    models: dict[str, X86Model] = {}
    for name, vendor, parent, text in _TABLE:
        features = set(models[parent].features) if parent else set()
        words = text.split()
        features.update(word[1:] for word in words if word[0] == "+")
        features.difference_update(word[1:] for word in words if word[0] == "-")
        removed = tuple(word[1:] for word in words if word[0] == "~")
        models[name] = X86Model(name, vendor, frozenset(features), removed, name not in UNUSABLE)
    return models


X86_MODELS: Final = _models()
