"""What the QEMU driver says of itself, beside what libvirtd 9.0.0 said of the same emulators."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from remotevirt.drivers.cpu.x86_models import X86_MODELS
from remotevirt.drivers.qemu.capabilities import capabilities_xml
from remotevirt.drivers.qemu.connect import ConnectHost, QemuConnectCalls
from remotevirt.drivers.qemu.cpu import HostCpu
from remotevirt.drivers.qemu.emulator import CpuModel, Emulator, Machine
from remotevirt.drivers.qemu.firmware import Firmware, firmware_for, read_firmware
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.xml.schema import SCHEMAS, validate_document

RECORDED = Path(__file__).with_name("capabilities.json")
"""Debian 12's emulators, as they were probed, and libvirtd's documents of them."""

HOST = "  <host>\n    <cpu/>\n  </host>\n"
X86 = "/usr/bin/qemu-system-x86_64"
ARM = "/usr/bin/qemu-system-aarch64"

FIRMWARE = (
    Firmware("/usr/share/AAVMF/AAVMF_CODE.ms.fd", None, frozenset({"uefi"}), (("aarch64", ("virt-*",)),)),
    Firmware(
        "/usr/share/OVMF/OVMF_CODE_4M.ms.fd",
        None,
        frozenset({"uefi"}),
        (("x86_64", ("pc-q35-*",)),),
        frozenset({"secure-boot", "requires-smm", "enrolled-keys"}),
    ),
    Firmware(
        "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        None,
        frozenset({"uefi"}),
        (("x86_64", ("pc-q35-*",)),),
        frozenset({"secure-boot", "requires-smm"}),
    ),
    Firmware("/usr/share/AAVMF/AAVMF_CODE.fd", None, frozenset({"uefi"}), (("aarch64", ("virt-*",)),)),
    Firmware(
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        None,
        frozenset({"uefi"}),
        (("x86_64", ("pc-i440fx-*", "pc-q35-*")),),
    ),
)

DIFFERENT = (
    "cpu/mode[@name='host-model']",
    "devices/disk/enum[@name='bus']/value[.='fdc']",
    "devices/graphics/enum/value[.!='vnc']",
    "devices/hostdev",
    "devices/rng/enum/value[.='egd']",
    "devices/filesystem",
    "devices/tpm",
    "devices/redirdev",
    "devices/channel/enum/value[.='spicevmc']",
    "features/backup",
)
"""What this driver does not offer, or describes in its own way."""


@cache
def recorded() -> Any:
    """What was recorded."""
    return json.loads(RECORDED.read_text())


def emulator(name: str) -> Emulator:
    """An emulator as it was recorded."""
    values = dict(recorded()["emulators"][name])
    for kind in ("cpus", "kvm_cpus"):
        values[kind] = {
            name: CpuModel(name, None if blockers is None else ("x",) * blockers, deprecated)
            for name, blockers, deprecated in values[kind]
        }
    machines = [Machine(*machine) for machine in values["machines"]]
    values["machines"] = {machine.name: machine for machine in machines}
    for kind in ("devices", "objects"):
        values[kind] = frozenset(values[kind])
    values["version"] = tuple(values["version"])
    return Emulator(**values)


class Known:
    """The emulators of a host."""

    def __init__(self, *emulators: Emulator) -> None:
        self.emulators = emulators

    async def all(self) -> list[Emulator]:
        """Return all."""
        return list(self.emulators)

    async def find(self, arch: str) -> Emulator | None:
        """Return the one for an architecture."""
        return next((one for one in self.emulators if one.arch == arch), None)


class CapabilitiesCase(TestCase):
    """A driver on a host of Nehalem CPUs with two emulators."""

    def setUp(self) -> None:
        self.features = X86_MODELS["Nehalem"].features | {"vmx", "invtsc"}
        self.calls: Any = QemuConnectCalls()
        self.calls.emulators = Known(emulator("aarch64"), emulator("x86_64"))
        cpu = HostCpu("x86_64", self.features, "Intel")
        self.calls.about = ConnectHost(cpu, lambda: HOST, FIRMWARE, kvm_vcpus=710)

    def ask(self, name: str, *arguments: Any) -> Any:
        """Make a call, and return its result or the code, domain and text of its error."""
        try:
            result = getattr(self.calls, name)(*arguments)
            if hasattr(result, "__await__"):
                result = self.successResultOf(ensureDeferred(_told(result)))
                if isinstance(result, VirError):
                    raise result
        except VirError as error:
            return error.code, error.domain, error.message
        return result


async def _told(call: Any) -> Any:
    """Return a result, or the error in its place."""
    try:
        return await call
    except VirError as error:
        return error


class DocumentTests(CapabilitiesCase):
    """The documents."""

    def test_guests(self) -> None:
        """The guests are libvirt's, byte for byte."""
        text = capabilities_xml(HOST, self.calls.emulators.emulators)
        self.assertEqual(f"<capabilities>\n\n{HOST}\n{recorded()['guests']}\n</capabilities>\n", text)

    async def test_capabilities(self) -> None:
        """The call puts the host in front."""
        text = await self.calls.connect_get_capabilities()
        self.assertIn(f"<capabilities>\n\n{HOST}\n  <guest>", text)

    def test_old_arm(self) -> None:
        """An emulator of 32 bit ARM serves two architectures."""
        arm = Emulator("/usr/bin/qemu-system-arm", "armv7l", (7, 2, 0), machines={"virt": Machine("virt")})
        text = capabilities_xml(HOST, [*self.calls.emulators.emulators, arm])
        self.assertEqual(["armv6l", "armv7l", "aarch64", "x86_64"], re.findall("<arch name='(.*)'>", text))

    def test_domain(self) -> None:
        """Domain capabilities are libvirt's, but for what this driver does not offer."""
        self.assertEqual(4, len(recorded()["domain"]))
        for arguments, expected in recorded()["domain"]:
            text = self.ask("connect_get_domain_capabilities", *arguments, 0)
            validate_document(etree.fromstring(text), SCHEMAS / "domaincaps.rng")
            self.assertEqual(_common(expected), _common(text), arguments)

    def test_host_model(self) -> None:
        """A guest with KVM gets what the host has; of what emulation gives nothing is known."""
        text = self.ask("connect_get_domain_capabilities", None, None, None, "kvm", 0)
        (mode,) = etree.fromstring(text).findall("cpu/mode[@name='host-model']")
        self.assertEqual(("Nehalem", "Intel"), (mode.findtext("model"), mode.findtext("vendor")))
        self.assertEqual(
            {("require", "vmx"), ("require", "invtsc")},
            {(feature.get("policy"), feature.get("name")) for feature in mode.findall("feature")},
        )
        text = self.ask("connect_get_domain_capabilities", None, None, None, "qemu", 0)
        self.assertIn("<mode name='host-model' supported='no'/>", text)

    def test_refused(self) -> None:
        """Arguments that mean nothing, in libvirt's words."""
        bad, prefix = (c.VIR_ERR_INVALID_ARG, c.VIR_FROM_QEMU), "invalid argument: "
        mismatch = "architecture from emulator '{}' doesn't match given architecture '{}'"
        for arguments, text in (
            ((None, "foo", None, None), "unknown architecture: foo"),
            ((None, None, None, "bad"), "unknown virttype: bad"),
            (("", "", "", ""), "unknown virttype: "),
            ((None, None, "nope", None), f"the machine 'nope' is not supported by emulator '{X86}'"),
            ((None, None, None, "xen"), f"Emulator '{X86}' does not support virt type 'xen'"),
            ((X86, "aarch64", None, None), mismatch.format("x86_64", "aarch64")),
            ((ARM, None, None, None), mismatch.format("aarch64", "x86_64")),
            ((None, "aarch64", None, "kvm"), f"the accel 'kvm' is not supported by '{ARM}' on this host"),
        ):
            found = self.ask("connect_get_domain_capabilities", *arguments, 0)
            self.assertEqual((*bad, prefix + text), found)
        found = self.ask("connect_get_domain_capabilities", None, "ppc64", None, None, 0)
        text = "unsupported configuration: unable to find any emulator to serve 'ppc64' architecture"
        self.assertEqual((c.VIR_ERR_CONFIG_UNSUPPORTED, c.VIR_FROM_QEMU, text), found)
        found = self.ask("connect_get_domain_capabilities", None, None, None, None, 1)
        text = "unsupported flags (0x1) in function qemuConnectGetDomainCapabilities"
        self.assertEqual((*bad, text), found)

    def test_strangers_are_not_run(self) -> None:
        """An emulator that a client names and nobody knows is not looked at, whether it is there or not."""
        for path in ("/bin/nope", "/bin/sh", f"{X86}/../../../bin/sh"):
            found = self.ask("connect_get_domain_capabilities", path, None, None, None, 0)
            text = f"Cannot check QEMU binary {path}: No such file or directory"
            self.assertEqual((c.VIR_ERR_SYSTEM_ERROR, c.VIR_FROM_QEMU, text), found)
        text = self.ask("connect_get_domain_capabilities", X86, None, None, None, 0)
        self.assertIn(f"<path>{X86}</path>", text)


class FigureTests(CapabilitiesCase):
    """Type, version, numbers and names."""

    def test_figures(self) -> None:
        """As libvirtd answers."""
        self.assertEqual("QEMU", self.ask("connect_get_type"))
        self.assertEqual(7002022, self.ask("connect_get_version"))
        expected = {None: 16, "qemu": 16, "QEMU": 16, "kvm": 710}
        self.assertEqual(expected, {kind: self.ask("connect_get_max_vcpus", kind) for kind in expected})
        self.assertEqual(
            (8, 10, "invalid argument: unknown type 'bad'"), self.ask("connect_get_max_vcpus", "bad")
        )
        self.assertEqual(1, self.ask("connect_supports_feature", c.VIR_DRV_FEATURE_FD_PASSING))
        self.assertEqual(0, self.ask("connect_supports_feature", c.VIR_DRV_FEATURE_MIGRATION_V3))

    def test_no_emulators(self) -> None:
        """A host without any has no version."""
        self.calls.emulators = Known()
        self.assertEqual(c.VIR_ERR_INTERNAL_ERROR, self.ask("connect_get_version")[0])

    def test_models(self) -> None:
        """The models that libvirt knows, by architecture."""
        for arch, count in (("x86_64", 58), ("i686", 58), ("ppc64", 7), ("aarch64", 0), ("s390x", 0)):
            self.assertEqual(count, self.ask("connect_get_cpu_model_names", arch, 1, 0).ret, arch)
        text = "invalid argument: cannot find architecture foo"
        self.assertEqual((8, 10, text), self.ask("connect_get_cpu_model_names", "foo", 1, 0))


class CpuTests(CapabilitiesCase):
    """Comparing CPUs, and what several have in common."""

    def compare(self, text: str, flags: int = 0) -> Any:
        """Compare with the host."""
        return self.ask("connect_compare_cpu", text, flags)

    def test_compared(self) -> None:
        """Incompatible, identical, or less than the host."""
        more = "<feature name='vmx'/><feature name='invtsc'/>"
        same = f"<cpu><arch>x86_64</arch><model>Nehalem</model>{more}</cpu>"
        self.assertEqual(c.VIR_CPU_COMPARE_IDENTICAL, self.compare(same))
        for text in (
            "<cpu/>",
            "<cpu mode='host-model'/>",
            "<cpu mode='host-passthrough'/>",
            "<cpu><model>Penryn</model></cpu>",
            "<cpu mode='custom'><model>Westmere</model><feature policy='disable' name='aes'/>"
            "<feature policy='optional' name='pclmuldq'/></cpu>",
        ):
            self.assertEqual(c.VIR_CPU_COMPARE_SUPERSET, self.compare(text), text)

    def test_incompatible(self) -> None:
        """Why a CPU does not fit is said if that shall be an error."""
        for text, reason in (
            ("<cpu><arch>aarch64</arch><model>x</model></cpu>", "CPU arch aarch64 does not match host arch"),
            ("<cpu><model>EPYC</model><vendor>AMD</vendor></cpu>", "host CPU vendor does not match required"),
            (
                "<cpu><model>Penryn</model><feature name='svm'/><feature name='avx'/></cpu>",
                "Host CPU does not provide required features: avx, svm",
            ),
            (
                "<cpu><model>Penryn</model><feature policy='forbid' name='sse2'/></cpu>",
                "Host CPU provides forbidden features: sse2",
            ),
            ("<cpu match='strict'><model>Penryn</model></cpu>", "Host CPU does not strictly match"),
        ):
            self.assertEqual(c.VIR_CPU_COMPARE_INCOMPATIBLE, self.compare(text), text)
            code, domain, words = self.compare(text, c.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
            self.assertEqual((c.VIR_ERR_CPU_INCOMPATIBLE, c.VIR_FROM_CPU), (code, domain))
            self.assertIn(f"the CPU is incompatible with host CPU: {reason}", words)

    def test_wrong(self) -> None:
        """Documents that are wrong, in libvirt's words."""
        for text, code, words in (
            ("<foo/>", 27, "XML error: XML does not contain expected 'cpu' element"),
            ("<cpu><model>nope</model></cpu>", 1, "internal error: Unknown CPU model nope"),
            (
                "<cpu><model>qemu64</model><feature name='bad'/></cpu>",
                1,
                "internal error: Unknown CPU feature bad",
            ),
        ):
            self.assertEqual((code, c.VIR_FROM_CPU, words), self.compare(text))
        words = "unsupported flags (0x8) in function qemuConnectCompareCPU"
        self.assertEqual((8, 10, words), self.compare("<cpu/>", 8))
        found = self.compare("<cpu><unknown/></cpu>", c.VIR_CONNECT_COMPARE_CPU_VALIDATE_XML)
        self.assertEqual(c.VIR_ERR_XML_INVALID_SCHEMA, found[0])

    def test_baseline(self) -> None:
        """What guests cannot be given, or not take along, is left out."""
        text = (
            "<cpu><arch>x86_64</arch><model>Penryn</model>"
            "<feature name='osxsave'/><feature name='invtsc'/><feature name='vmx'/></cpu>"
        )
        found = self.ask("connect_baseline_cpu", [text], 0)
        self.assertEqual(["vmx", "invtsc"], re.findall("name='(.*)'", found))
        found = self.ask("connect_baseline_cpu", [text], c.VIR_CONNECT_BASELINE_CPU_MIGRATABLE)
        self.assertEqual(["vmx"], re.findall("name='(.*)'", found))
        text = "xmlCPUs in virConnectBaselineCPU must not be NULL"
        self.assertEqual((8, 20, text), self.ask("connect_baseline_cpu", [], 0))

    def test_hypervisor(self) -> None:
        """With KVM guests have what the host has; of emulated ones nothing is known."""
        westmere = "<cpu><arch>x86_64</arch><model>Westmere</model></cpu>"
        here: tuple[Any, ...] = (None, None, None, "kvm")
        self.assertEqual(0, self.ask("connect_compare_hypervisor_cpu", *here, westmere, 0))
        found = self.ask("connect_baseline_hypervisor_cpu", *here, [westmere], 0)
        self.assertIn("<feature policy='disable' name='aes'/>", found)
        for there in ((None, None, None, "qemu"), (None, "aarch64", None, None)):
            for call, argument in (
                ("connect_compare_hypervisor_cpu", westmere),
                ("connect_baseline_hypervisor_cpu", [westmere]),
            ):
                self.assertEqual(c.VIR_ERR_OPERATION_UNSUPPORTED, self.ask(call, *there, argument, 0)[0])


class FirmwareTests(TestCase):
    """Descriptors of firmware."""

    def setUp(self) -> None:
        self.folders = [Path(self.mktemp()).absolute() for _ in range(2)]
        for folder in self.folders:
            folder.mkdir()
        self.code = self.folders[0] / "code.fd"
        self.code.touch()

    def describe(self, number: int, name: str, **changes: Any) -> None:
        """Write a descriptor into a folder."""
        record = {
            "interface-types": ["uefi"],
            "mapping": {
                "device": "flash",
                "executable": {"filename": str(self.code), "format": "raw"},
                "nvram-template": {"filename": "/vars.fd", "format": "raw"},
            },
            "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
            "features": ["secure-boot"],
        }
        (self.folders[number] / name).write_text(json.dumps(record | changes))

    def read(self) -> tuple[Firmware, ...]:
        """Read both folders."""
        return read_firmware(map(str, self.folders))

    def test_read(self) -> None:
        """Path, variables and features; for the machines that are meant."""
        self.describe(0, "50-a.json")
        (found,) = self.read()
        self.assertEqual(
            (str(self.code), "/vars.fd", {"uefi"}), (found.path, found.template, found.interfaces)
        )
        self.assertEqual([found], firmware_for([found], "x86_64", "pc-q35-7.2"))
        for arch, machine in (("i686", "pc-q35-7.2"), ("x86_64", "pc-i440fx-7.2")):
            self.assertEqual([], firmware_for([found], arch, machine))

    def test_order(self) -> None:
        """By name; the second folder's file counts, and an empty one hides."""
        self.describe(0, "50-a.json", features=["first"])
        self.describe(0, "60-b.json")
        self.describe(0, "70-c.json")
        self.describe(1, "40-d.json", features=["front"])
        self.describe(1, "50-a.json", features=["second"])
        (self.folders[1] / "60-b.json").touch()
        names = [sorted(one.features) for one in self.read()]
        self.assertEqual([["front"], ["second"], ["secure-boot"]], names)

    def test_nonsense(self) -> None:
        """What is no descriptor, or describes what is not there, is left out."""
        self.describe(0, "10-a.json", mapping={"device": "flash"})
        self.describe(0, "20-b.json", targets=[{"architecture": 7, "machines": []}])
        self.describe(0, "30-c.json", mapping={"device": "memory", "filename": "/nowhere/code.fd"})
        (self.folders[0] / "40-d.json").write_bytes(b"\xff")
        (self.folders[0] / "50-e.json").write_text("[" * 50_000)
        (self.folders[0] / "60-f.json").write_text(" " * 70_000)
        os.mkfifo(self.folders[0] / "65-pipe.json")
        self.describe(0, "70-g.json", mapping={"device": "memory", "filename": str(self.code)})
        self.assertEqual([str(self.code)], [one.path for one in self.read()])


def _common(text: str) -> str:
    """A document without what this driver describes in its own way."""
    root = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    for place in DIFFERENT:
        for element in root.xpath(place):
            element.getparent().remove(element)
    return str(etree.tostring(root, pretty_print=True).decode())
