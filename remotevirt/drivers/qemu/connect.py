"""The calls about the hypervisor itself: what it is, what it can do, which CPUs there are.

A client may name an emulator, and to find out what one can do it must be executed. So only those are looked
at that this host has under their usual names; libvirt's driver executes any binary that a client names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs
from twisted.internet.threads import deferToThread

from remotevirt.drivers.cpu.baseline import baseline, describe, need_cpus
from remotevirt.drivers.cpu.models import CPU_MODELS, WITHOUT_DRIVER
from remotevirt.drivers.cpu.x86_models import FEATURES as CPU_FEATURES
from remotevirt.drivers.faults import check_flags
from remotevirt.drivers.qemu.capabilities import capabilities_xml, machines_of
from remotevirt.drivers.qemu.cpu import HostCpu, compare
from remotevirt.drivers.qemu.domain_capabilities import HostModel, domain_capabilities_xml
from remotevirt.drivers.qemu.emulator import Emulator, Machine
from remotevirt.drivers.qemu.firmware import Firmware
from remotevirt.stubs import constants as c
from remotevirt.stubs.drivers import HypervisorDriver
from remotevirt.stubs.errors import (
    ConfigUnsupported,
    InternalError,
    InvalidArg,
    OperationUnsupported,
    VirSystemError,
)
from remotevirt.stubs.remote.connect import ConnectGetCpuModelNamesRet
from remotevirt.xml.host_cpu import parse_host_cpu

__all__ = ["ConnectHost", "QemuConnectCalls"]

ARCHITECTURES: Final = frozenset({*CPU_MODELS, *WITHOUT_DRIVER})
"""All that libvirt has a name for."""

VIRT_TYPES: Final = frozenset(
    [
        "qemu",
        "kqemu",
        "kvm",
        "xen",
        "lxc",
        "uml",
        "openvz",
        "test",
        "vmware",
        "hyperv",
        "vbox",
        "phyp",
        "parallels",
        "bhyve",
        "vz",
        "hvf",
        "none",
    ]
)
"""All that libvirt has a name for; guests of this driver are of the first or the third."""

DEFAULT_VCPUS: Final = 16
"""What libvirt says for guests without KVM, whatever their machine."""

FEATURES: Final = frozenset(
    {
        c.VIR_DRV_FEATURE_FD_PASSING,
        c.VIR_DRV_FEATURE_TYPED_PARAM_STRING,
        c.VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER,
    }
)
"""What the driver has. It migrates no guests, so it has none of the features for that."""

UNMIGRATABLE: Final = frozenset({"invtsc", "xsaves"})
"""CPU features with which a guest cannot move to another host."""

GRANTABLE: Final = frozenset(CPU_FEATURES) - {"osxsave", "ospke", "cmt", "mbm_total", "mbm_local"}
"""CPU features that guests can be given: not what their own system sets, nor what only the host measures."""

X86: Final = frozenset({"i686", "x86_64"})


class Emulators(Protocol):
    """Knows the emulators of this host: :class:`~remotevirt.drivers.qemu.probe.EmulatorCache`."""

    async def all(self) -> list[Emulator]:
        """Return all of them."""

    async def find(self, arch: str) -> Emulator | None:
        """Return the one for an architecture."""


@attrs.frozen
class ConnectHost:
    """What these calls need to know of the host.

    Attributes:
        cpu: its CPU.
        document: returns the ``<host>`` element, indented by two blanks; called in a thread.
        firmware: what guests can start from.
        kvm_vcpus: the most CPUs that KVM gives a guest; None where there is no KVM.
    """

    cpu: HostCpu
    document: Callable[[], str]
    firmware: Sequence[Firmware] = ()
    kvm_vcpus: int | None = None


class QemuConnectCalls(HypervisorDriver):
    """The calls about the hypervisor itself, as a mixin.

    Attributes:
        emulators: those of this host.
        about: what they need to know of the host.
    """

    emulators: Emulators
    about: ConnectHost

    def connect_get_type(self) -> str:
        """Return "QEMU", in capitals as libvirt has it."""
        return "QEMU"

    async def connect_get_version(self) -> int:
        """Return the version of the emulator for guests of the host's own architecture."""
        emulator = await self.emulators.find(self.about.cpu.arch)
        if emulator is None:
            found = await self.emulators.all()
            if not found:
                text = f"Cannot find suitable emulator for {self.about.cpu.arch}"
                raise InternalError(text, domain=c.VIR_FROM_QEMU)
            emulator = found[0]
        major, minor, micro = emulator.version
        return 1000000 * major + 1000 * minor + micro

    def connect_is_secure(self) -> int:
        """Return 1: between the daemon and this driver there is no wire. Clients judge their own part."""
        return 1

    def connect_supports_feature(self, feature: int) -> int:
        """Return 1 if the driver has a feature of virDrvFeature."""
        return int(feature in FEATURES)

    def connect_get_max_vcpus(self, type: str | None) -> int:
        """Return the most CPUs that guests of a type can have."""
        kind = "qemu" if type is None else type.lower()
        if kind == "qemu":
            return DEFAULT_VCPUS
        if kind == "kvm":
            if self.about.kvm_vcpus is None:
                raise VirSystemError("Unable to open /dev/kvm", domain=c.VIR_FROM_NONE)
            return self.about.kvm_vcpus
        raise _bad(f"unknown type '{type}'")

    async def connect_get_capabilities(self) -> str:
        """Return the capabilities document."""
        emulators = await self.emulators.all()
        host: str = await deferToThread(self.about.document)
        return capabilities_xml(host, emulators)

    async def connect_get_domain_capabilities(
        self,
        emulatorbin: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        flags: int,
    ) -> str:
        """Return what a guest can have.

        Args:
            emulatorbin: the path of an emulator, None for the architecture's.
            arch: of the guest, None for the host's.
            machine: name or alias of a machine type, None for the default one.
            virttype: ``kvm`` or ``qemu``, None for the faster one that there is.
            flags: none are known.
        """
        check_flags(flags, 0, "qemuConnectGetDomainCapabilities", c.VIR_FROM_QEMU)
        emulator, board, kind = await self._choose(emulatorbin, arch, machine, virttype)
        native = emulator.arch == self.about.cpu.arch
        model = self._host_model() if kind == "kvm" and native else None
        return domain_capabilities_xml(
            emulator, board, kind, self.about.firmware, native=native, host_model=model
        )

    def _host_model(self) -> HostModel | None:
        """Return the CPU model nearest to the host, if that is known."""
        cpu = self.about.cpu
        if cpu.arch not in X86 or cpu.features is None:
            return None
        model, policies = describe(cpu.features & GRANTABLE, cpu.vendor, set())
        return HostModel(model.name, cpu.vendor, policies)

    async def _choose(
        self, path: str | None, arch: str | None, machine: str | None, virttype: str | None
    ) -> tuple[Emulator, Machine, str]:
        """Return the emulator, machine type and kind of guest that some arguments mean.

        Raises:
            InvalidArg, ConfigUnsupported, VirSystemError: there is no such thing.
        """
        if virttype is not None and virttype not in VIRT_TYPES:
            raise _bad(f"unknown virttype: {virttype}")
        if arch is not None and arch not in ARCHITECTURES:
            raise _bad(f"unknown architecture: {arch}")
        wanted = arch or self.about.cpu.arch
        if path is not None:
            emulator = await self._at(path)
            if emulator.arch != wanted:
                text = f"architecture from emulator '{emulator.arch}' doesn't match given architecture"
                raise _bad(f"{text} '{wanted}'")
        else:
            found = await self.emulators.find(wanted)
            if found is None:
                text = f"unable to find any emulator to serve '{wanted}' architecture"
                raise ConfigUnsupported(text, domain=c.VIR_FROM_QEMU)
            emulator = found
        kind = virttype or ("kvm" if emulator.kvm else "qemu")
        if kind not in ("qemu", "kvm"):
            raise _bad(f"Emulator '{emulator.path}' does not support virt type '{kind}'")
        if kind == "kvm" and not emulator.kvm:
            raise _bad(f"the accel 'kvm' is not supported by '{emulator.path}' on this host")
        if machine is not None:
            board = emulator.machine(machine)
        else:
            board = next(iter(machines_of(emulator)), None)
        if board is None or board.name == "none":
            raise _bad(f"the machine '{machine}' is not supported by emulator '{emulator.path}'")
        return emulator, board, kind

    async def _at(self, path: str) -> Emulator:
        """Return the emulator of a path, if it is one of those that we know.

        Raises:
            VirSystemError: it is not.
        """
        known = {emulator.path: emulator for emulator in await self.emulators.all()}
        found = known.get(path)
        if found is None:
            text = f"Cannot check QEMU binary {path[:1024]}: No such file or directory"
            raise VirSystemError(text, domain=c.VIR_FROM_QEMU)
        return found

    def connect_get_cpu_model_names(
        self, arch: str, need_results: int, flags: int
    ) -> ConnectGetCpuModelNamesRet:
        """Return the CPU models that libvirt 9.0.0 knows for an architecture."""
        check_flags(flags, 0, "qemuConnectGetCPUModelNames", c.VIR_FROM_QEMU)
        models = CPU_MODELS.get(arch)
        if models is None:
            if arch in WITHOUT_DRIVER:
                text = f"'{arch}' architecture is not supported by CPU driver"
                raise OperationUnsupported(text, domain=c.VIR_FROM_CPU)
            raise _bad(f"cannot find architecture {arch}")
        return ConnectGetCpuModelNamesRet(models if need_results else (), len(models))

    def connect_compare_cpu(self, xml: str, flags: int) -> int:
        """Compare a CPU with the host's; see :func:`~remotevirt.drivers.qemu.cpu.compare`."""
        strict, validate = _compare_flags(flags, "qemuConnectCompareCPU")
        return compare(xml, self.about.cpu, strict=strict, validate=validate)

    async def connect_compare_hypervisor_cpu(
        self,
        emulator: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        xmlCPU: str,
        flags: int,
    ) -> int:
        """Compare a CPU with what a guest with KVM can have: with all that the host has."""
        strict, validate = _compare_flags(flags, "qemuConnectCompareHypervisorCPU")
        self._need_kvm(*await self._choose(emulator, arch, machine, virttype), "comparing with the")
        return compare(xmlCPU, self.about.cpu, strict=strict, validate=validate)

    def connect_baseline_cpu(self, xmlCPUs: Sequence[str], flags: int) -> str:
        """Return the document of the richest CPU that some hosts have in common."""
        need_cpus(xmlCPUs, "virConnectBaselineCPU")
        expand, limit = _baseline_flags(flags, "qemuConnectBaselineCPU", GRANTABLE)
        return baseline(xmlCPUs, expand=expand, limit=limit)

    async def connect_baseline_hypervisor_cpu(
        self,
        emulator: str | None,
        arch: str | None,
        machine: str | None,
        virttype: str | None,
        xmlCPUs: Sequence[str],
        flags: int,
    ) -> str:
        """Return the document of the richest CPU that some hosts and guests with KVM here have in common."""
        need_cpus(xmlCPUs, "virConnectBaselineHypervisorCPU")
        for text in xmlCPUs:
            parse_host_cpu(text)  # what is wrong with a document is said first
        features = GRANTABLE & (self.about.cpu.features or frozenset())
        expand, limit = _baseline_flags(flags, "qemuConnectBaselineHypervisorCPU", features)
        self._need_kvm(*await self._choose(emulator, arch, machine, virttype), "computing baseline")
        return baseline(xmlCPUs, expand=expand, limit=limit)

    def _need_kvm(self, emulator: Emulator, machine: Machine, virttype: str, what: str) -> None:
        """Refuse to speak of CPUs of which nothing is known.

        Raises:
            OperationUnsupported: guests are emulated, or not for x86.
        """
        if emulator.arch not in X86:
            text = f"{what} hypervisor CPU is not supported for arch {emulator.arch}"
            raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)
        if virttype != "kvm" or self.about.cpu.features is None:
            text = f"{what} hypervisor CPU is not supported without KVM"
            raise OperationUnsupported(text, domain=c.VIR_FROM_QEMU)


def _bad(text: str) -> InvalidArg:
    return InvalidArg(text, domain=c.VIR_FROM_QEMU)


def _compare_flags(flags: int, function: str) -> tuple[bool, bool]:
    """Return whether what does not fit is an error, and whether the schema counts."""
    strict, validate = c.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE, c.VIR_CONNECT_COMPARE_CPU_VALIDATE_XML
    check_flags(flags, strict | validate, function, c.VIR_FROM_QEMU)
    return bool(flags & strict), bool(flags & validate)


def _baseline_flags(flags: int, function: str, features: frozenset[str]) -> tuple[bool, frozenset[str]]:
    """Return whether a model's own features are listed, and which of some features can be in a baseline."""
    expand, migratable = (
        c.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES,
        c.VIR_CONNECT_BASELINE_CPU_MIGRATABLE,
    )
    check_flags(flags, expand | migratable, function, c.VIR_FROM_QEMU)
    return bool(flags & expand), features - UNMIGRATABLE if flags & migratable else features
