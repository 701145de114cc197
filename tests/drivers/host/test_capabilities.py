"""The host's part of capabilities, its identity and its firmware."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from lxml import etree

from remotevirt.drivers.cpu.x86_models import X86_MODELS
from remotevirt.drivers.host import Host, host_xml
from remotevirt.drivers.host.processor import OF_AMD, OF_INTEL, RENAMED, SIGNATURES, read_processor
from remotevirt.drivers.host.sysinfo import format_decoded, read_sysinfo
from tests.drivers.host.base import HostTestCase, recorded
from tests.drivers.host.trees import CPU_FLAGS

HERE = Path(__file__).parent
FIRMWARE = UUID("3c6fb7d4-1f2a-4cc7-9d5e-6e1f2a3b4c5d")


class HostElementTests(HostTestCase):
    """The element is libvirtd's, but for what it asks the real CPU."""

    def test_layout(self) -> None:
        """Cells, distances, pages, caches and IOMMU are told as libvirtd tells them."""
        text = host_xml(self.server())
        start = text.index("    <power_management")
        self.assertEqual(text[start : text.index("    <secmodel>")], recorded()["host"])

    def test_security(self) -> None:
        """Who guests run as is told where the daemon chooses it."""
        host = self.server()
        self.assertEqual(host_xml(host).count("<secmodel>"), 1)
        host.base_label = "+64055:+64055"
        root = etree.fromstring(host_xml(host))
        self.assertEqual(root.findtext("secmodel[model='dac']/baselabel[@type='kvm']"), "+64055:+64055")

    def test_bare(self) -> None:
        """A host that says next to nothing has one cell with its CPUs."""
        root = etree.fromstring(host_xml(self.bare()))
        self.assertEqual(root.findtext("topology/cells/cell/memory"), "2000000")
        self.assertEqual(len(root.findall("topology/cells/cell/cpus/cpu")), 2)
        self.assertIsNone(root.find("cache"))
        self.assertEqual(root.find("iommu").get("support"), "no")


class UuidTests(HostTestCase):
    """A host keeps its name as long as it can."""

    def test_order(self) -> None:
        """What is configured comes first, then the firmware, then the machine's id."""
        host = self.server()
        self.assertEqual(host.uuid, FIRMWARE)
        chosen = UUID(int=7 << 64 | 5)
        self.assertEqual(Host(host.files.root, uuid=chosen).uuid, chosen)

    def test_firmware_without(self) -> None:
        """Firmware that fills in zeros is not believed; the machine's id is, and is not told itself."""
        host = self.changing_server()
        Path(host.files.path("/sys/class/dmi/id/product_uuid")).write_text(str(UUID(int=0)))
        Path(host.files.path("/etc")).mkdir()
        Path(host.files.path("/etc/machine-id")).write_text("3d1219c7c4c5404aaa1f6d2a48adfda4\n")
        self.assertEqual(host.uuid, Host(host.files.root).uuid)
        self.assertNotEqual(host.uuid.hex, "3d1219c7c4c5404aaa1f6d2a48adfda4")

    def test_nobody_knows(self) -> None:
        """Without any, it is random, and stays as long as the daemon."""
        host = self.bare()
        self.assertEqual(host.uuid, host.uuid)
        self.assertNotEqual(host.uuid, self.bare().uuid)


class ProcessorTests(HostTestCase):
    """A CPU is described as the model that fits."""

    def _describe(self, **changed: str) -> tuple[str | None, str | None, tuple[str, ...]]:
        record = {
            "vendor_id": "GenuineIntel",
            "cpu family": "6",
            "model": "62",
            "stepping": "4",
            "flags": CPU_FLAGS,
        }
        record.update(
            {name.replace("_", " ") if name != "vendor_id" else name: text for name, text in changed.items()}
        )
        root = self.tree()
        (root / "proc").mkdir()
        (root / "proc" / "cpuinfo").write_text(
            "".join(f"{name}\t: {text}\n" for name, text in record.items())
        )
        found = read_processor(Host(str(root)).files, "x86_64")
        return found.model, found.vendor, found.features

    def test_own_model(self) -> None:
        """The model of the CPU's own family is taken, and what it has besides is listed in order."""
        model, vendor, features = self._describe()
        self.assertEqual((model, vendor), ("IvyBridge-IBRS", "Intel"))
        self.assertEqual(features[:4], ("ds", "acpi", "ss", "ht"))
        self.assertIn("invtsc", features)

    def test_every_model(self) -> None:
        """A CPU that has just what a model has, told in Linux's words, is described as that model.

        Two models have features that Linux does not tell.
        """
        vendors = {"Intel": "GenuineIntel", "AMD": "AuthenticAMD", "Hygon": "HygonGenuine"}
        for name, (family, models, steppings) in SIGNATURES.items():
            if name in {"Cooperlake", "Snowridge"}:
                continue
            vendor = X86_MODELS[name].vendor or ""
            words = {libvirt: linux for linux, libvirt in RENAMED.items()}
            of_vendor = OF_INTEL if vendor == "Intel" else OF_AMD
            words.update({libvirt: linux for linux, libvirt in of_vendor.items()})
            found = self._describe(
                vendor_id=vendors[vendor],
                cpu_family=str(family),
                model=str(min(models)),
                stepping=str(min(steppings or {1})),
                flags=" ".join(words.get(feature, feature) for feature in X86_MODELS[name].features),
            )
            self.assertEqual(found[0], name, found)
            self.assertLessEqual(set(found[2]), {"osxsave"})

    def test_lacking(self) -> None:
        """A CPU that lacks what its model has is described as a lesser one."""
        flags = CPU_FLAGS.replace(" avx ", " ")
        self.assertEqual(self._describe(flags=flags)[0], "Westmere-IBRS")

    def test_other_vendor(self) -> None:
        """Models of another maker do not describe it."""
        model, vendor, _ = self._describe(vendor_id="AuthenticAMD")
        self.assertEqual((model, vendor), ("kvm64", "AMD"))

    def test_nothing_fits(self) -> None:
        """A CPU that lacks what all models have has none, and no features without one."""
        self.assertEqual(self._describe(flags="fpu vme"), (None, "Intel", ()))

    def test_other_architecture(self) -> None:
        """Only x86 has models; others have their architecture."""
        found = read_processor(self.server().files, "aarch64")
        self.assertEqual((found.arch, found.model, found.features), ("aarch64", None, ()))


class SysinfoTests(HostTestCase):
    """What firmware says is libvirtd's document."""

    def test_decoded(self) -> None:
        """What dmidecode prints becomes what libvirtd, given the same, prints."""
        text = (HERE / "dmidecode.txt").read_text()
        self.assertEqual(format_decoded(text), (HERE / "sysinfo.xml").read_text().rstrip("\n") + "\n")

    def test_nonsense(self) -> None:
        """Output that is none is no document."""
        for text in ("", "\n\n", "\tVendor: x\n", "# dmidecode 3.4\n", "BIOS Information\n"):
            self.assertIsNone(format_decoded(text), text)

    def test_files(self) -> None:
        """Where dmidecode cannot be asked, the kernel's files tell some of it."""
        text = read_sysinfo(self.server().files, "x86_64")
        assert text is not None
        root = etree.fromstring(text)
        self.assertEqual(root.findtext("system/entry[@name='product']"), "2356GCG")
        self.assertEqual(root.findtext("bios/entry[@name='version']"), "G4ETA1WW (2.61 )")
        self.assertIsNone(root.find("chassis"))
