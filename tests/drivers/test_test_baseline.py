"""CPU baselines, with answers of libvirtd 9.0.0."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.drivers.cpu.models import CPU_MODELS
from remotevirt.drivers.cpu.x86_models import FEATURES, UNUSABLE, X86_MODELS
from remotevirt.errors import VirError
from remotevirt.xml import host_cpu
from tests.drivers.driving import hypervisor


def cpu(model: str, *features: str, arch: str = "x86_64", vendor: str | None = None) -> str:
    """Return the document of a host's CPU."""
    maker = f"<vendor>{vendor}</vendor>" if vendor else ""
    having = "".join(f"<feature name='{feature}'/>" for feature in features)
    return f"<cpu><arch>{arch}</arch><model>{model}</model>{maker}{having}</cpu>"


class BaselineTests(TestCase):
    """connect_baseline_cpu."""

    def setUp(self) -> None:
        self.baseline: Any = hypervisor().connect_baseline_cpu

    def lines(self, *cpus: str, flags: int = 0) -> list[str]:
        """Return what stands between the outer tags."""
        return [line.strip() for line in self.baseline(cpus, flags).splitlines()[1:-1]]

    def test_one_model(self) -> None:
        """What all hosts name is kept, with what they have besides."""
        self.assertEqual(self.lines(cpu("Penryn")), ["<model fallback='forbid'>Penryn</model>"])
        self.assertEqual(
            self.lines(cpu("Penryn", "vmx"), cpu("Penryn", "vmx", "dca")),
            ["<model fallback='forbid'>Penryn</model>", "<feature policy='require' name='vmx'/>"],
        )

    def test_two_models(self) -> None:
        """An older model, less what one of the hosts lacks."""
        self.assertEqual(
            self.lines(cpu("Penryn", "vmx"), cpu("core2duo")),
            ["<model fallback='allow'>Conroe</model>", "<feature policy='disable' name='lahf_lm'/>"],
        )

    def test_lacking_weighs_more(self) -> None:
        """Rather an old model with many features more than a new one with some less."""
        found = self.lines(cpu("IvyBridge", "lwp", "fxsr_opt", vendor="AMD"))
        self.assertEqual(found[:2], ["<model fallback='allow'>kvm64</model>", "<vendor>AMD</vendor>"])
        self.assertEqual(len([line for line in found if "'require'" in line]), 20)

    def test_expanded(self) -> None:
        """All features by name, those of the model among them."""
        found = self.lines(cpu("486", "sse"), flags=1)
        self.assertEqual(
            found,
            [
                "<model fallback='forbid'>486</model>",
                *(f"<feature policy='require' name='{name}'/>" for name in ("fpu", "pse", "sse", "vme")),
            ],
        )

    def test_lost_features(self) -> None:
        """What a model once had is said to be missing."""
        self.assertEqual(
            self.lines(cpu("Icelake-Server")),
            [
                "<model fallback='forbid'>Icelake-Server</model>",
                "<feature policy='disable' name='intel-pt'/>",
            ],
        )

    def test_vendors(self) -> None:
        """Shown if all hosts say who made them; two do not go together."""
        both = [cpu("Penryn", vendor="Intel"), cpu("Nehalem", vendor="Intel")]
        self.assertIn("<vendor>Intel</vendor>", self.lines(*both))
        self.assertNotIn("<vendor>Intel</vendor>", self.lines(both[0], cpu("Nehalem")))
        error = self.assertRaises(VirError, self.baseline, [both[0], cpu("Opteron_G1")], 0)
        self.assertEqual(error.message, "operation failed: CPU vendors do not match")

    def test_other_architectures(self) -> None:
        """Some have a baseline, some a CPU driver, some neither."""
        self.assertEqual(self.lines(cpu("x", arch="aarch64")), ["<model fallback='allow'>x</model>"])
        for arch, code in (("s390x", 3), ("mips", 3), ("nonsense", 67)):
            self.assertEqual(self.assertRaises(VirError, self.baseline, [cpu("x", arch=arch)], 0).code, code)
        power = cpu("POWER8", arch="ppc64")
        self.assertEqual(self.lines(power), ["<model fallback='forbid'>POWER8</model>"])

    def test_too_many_features(self) -> None:
        """A document costs what it has; the names of features are bounded."""
        self.patch(host_cpu, "MAX_FEATURES", 2)
        error = self.assertRaises(VirError, self.baseline, [cpu("Penryn", "vmx", "dca", "ss")], 0)
        self.assertEqual(error.message, "XML error: more than 2 CPU features")


class TableTests(TestCase):
    """The table of models."""

    def test_names(self) -> None:
        """They are those that connect_get_cpu_model_names answers, and features are known."""
        self.assertEqual(tuple(X86_MODELS), CPU_MODELS["x86_64"])
        self.assertLess(UNUSABLE, set(X86_MODELS))
        for model in X86_MODELS.values():
            self.assertLess(model.features, set(FEATURES))
        self.assertEqual(len(FEATURES), len(set(FEATURES)))
