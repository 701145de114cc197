"""The names of CPU models that libvirt 9.0.0 knows, by architecture.

They are what ``virConnectGetCPUModelNames`` of that release answers. Architectures that libvirt can name
but has no CPU driver for are in :data:`WITHOUT_DRIVER`; those with a driver but without models have an
empty tuple.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CPU_MODELS", "WITHOUT_DRIVER"]

_X86: Final = (
    "486",
    "pentium",
    "pentium2",
    "pentium3",
    "pentiumpro",
    "coreduo",
    "n270",
    "core2duo",
    "qemu32",
    "kvm32",
    "cpu64-rhel5",
    "cpu64-rhel6",
    "qemu64",
    "kvm64",
    "Conroe",
    "Penryn",
    "Nehalem",
    "Nehalem-IBRS",
    "Westmere",
    "Westmere-IBRS",
    "SandyBridge",
    "SandyBridge-IBRS",
    "IvyBridge",
    "IvyBridge-IBRS",
    "Haswell-noTSX",
    "Haswell-noTSX-IBRS",
    "Haswell",
    "Haswell-IBRS",
    "Broadwell-noTSX",
    "Broadwell-noTSX-IBRS",
    "Broadwell",
    "Broadwell-IBRS",
    "Skylake-Client",
    "Skylake-Client-IBRS",
    "Skylake-Client-noTSX-IBRS",
    "Skylake-Server",
    "Skylake-Server-IBRS",
    "Skylake-Server-noTSX-IBRS",
    "Cascadelake-Server",
    "Cascadelake-Server-noTSX",
    "Icelake-Client",
    "Icelake-Client-noTSX",
    "Icelake-Server",
    "Icelake-Server-noTSX",
    "Cooperlake",
    "Snowridge",
    "athlon",
    "phenom",
    "Opteron_G1",
    "Opteron_G2",
    "Opteron_G3",
    "Opteron_G4",
    "Opteron_G5",
    "EPYC",
    "EPYC-IBPB",
    "EPYC-Rome",
    "EPYC-Milan",
    "Dhyana",
)

_POWER: Final = ("POWER6", "POWER7", "POWER8", "POWER9", "POWER10", "POWERPC_e5500", "POWERPC_e6500")

CPU_MODELS: Final[dict[str, tuple[str, ...]]] = {
    "armv6l": (),
    "armv7l": (),
    "armv7b": (),
    "aarch64": (),
    "i686": _X86,
    "ppc64": _POWER,
    "ppc64le": _POWER,
    "s390": (),
    "s390x": (),
    "x86_64": _X86,
}

WITHOUT_DRIVER: Final = frozenset(
    {
        "alpha",
        "cris",
        "ia64",
        "lm32",
        "m68k",
        "microblaze",
        "microblazeel",
        "mips",
        "mipsel",
        "mips64",
        "mips64el",
        "openrisc",
        "parisc",
        "parisc64",
        "ppc",
        "ppcle",
        "ppcemb",
        "riscv32",
        "riscv64",
        "sh4",
        "sh4eb",
        "sparc",
        "sparc64",
        "unicore32",
        "xtensa",
        "xtensaeb",
    }
)
