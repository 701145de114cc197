"""What a live definition says of a CPU, when QEMU has said what it really is."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred

from remotevirt.drivers.cpu.x86_models import X86_MODELS
from remotevirt.drivers.qemu.command import Setting
from remotevirt.drivers.qemu.launching import surroundings_of
from remotevirt.drivers.qemu.live_cpu import as_asked, take_in_cpu
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import CpuIncompatible, OperationFailed
from remotevirt.xml.domain.cpu import Cpu, CpuModel, Feature
from tests.drivers.qemu.recorded import recorded_emulators
from tests.drivers.qemu.test_hotplug import HotplugBase

PATH = "/machine/unattached/device[0]"

DROPPED = ["no-such-feature", 7, "pcid", "svm"]
"""What QEMU says that it had to leave out."""


class LiveCpuTests(HotplugBase):
    """A guest whose CPU is a Nehalem with a hypervisor, but without SSE 4.1."""

    def setUp(self) -> None:
        super().setUp()
        self.emulator = next(one for one in recorded_emulators() if one.arch == "x86_64")
        self.has = X86_MODELS["Nehalem"].features - {"sse4.1"} | {"hypervisor", "aes"}
        self.monitor.answers["query-cpus-fast"] = [{"qom-path": PATH, "cpu-index": 0}]
        names = {*self.has, "sse4.1", "pcid", "svm", "pclmulqdq", "lahf-lm"} - {"pclmuldq", "lahf_lm"}
        self.monitor.answers["qom-list"] = [{"name": name, "type": "bool"} for name in names]
        self.ask = self.monitor.execute
        self.patch(self.monitor, "execute", self.answer)

    def answer(self, command: str, arguments: Any = None, **rest: Any) -> Deferred[Any]:
        """Say of a property what the test wants."""
        name = (arguments or {}).get("property", "")
        word = {"pclmulqdq": "pclmuldq", "lahf-lm": "lahf_lm"}.get(name, name)
        self.monitor.answers["qom-get"] = DROPPED if name == "unavailable-features" else word in self.has
        return self.ask(command, arguments, **rest)

    def want(self, check: str, **policies: str) -> None:
        """Say what is asked for."""
        cpu = self.record.live.changing().cpu = Cpu()
        cpu.mode, cpu.match, cpu.check = "custom", "exact", check
        cpu.model = CpuModel()
        cpu.model.name = "Nehalem"
        for name, policy in policies.items():
            feature = Feature()
            feature.name, feature.policy = name, policy
            cpu.features.append(feature)

    def setting(self) -> Setting:
        """What QEMU was started with."""
        return Setting(self.record.live.model, self.emulator, surroundings_of(self.guest))

    def features(self) -> list[tuple[str, str]]:
        """What the live definition says."""
        cpu = self.record.live.model.cpu
        assert cpu is not None
        return [(one.name, one.policy) for one in cpu.features]

    async def test_updated(self) -> None:
        """What came and what was left out is said; what was asked for is remembered."""
        self.want("none", avx="optional", aes="optional", mmx="require", svm="force")
        asked = self.features()
        await take_in_cpu(self.guest, self.setting())
        first = [("avx", "disable"), ("aes", "require"), ("mmx", "require"), ("svm", "disable")]
        rest = [("pcid", "disable"), ("sse4.1", "disable"), ("hypervisor", "require")]
        self.assertEqual(self.features(), first + rest)
        cpu = self.record.live.model.cpu
        assert cpu is not None
        self.assertEqual(cpu.check, "full")
        before = as_asked(self.record).model.cpu
        assert before is not None
        self.assertEqual((before.check, [(one.name, one.policy) for one in before.features]), ("none", asked))

    async def test_checked(self) -> None:
        """A guest that shall have just this CPU is refused another one."""
        wrong = "extra features: hypervisor, missing features: pcid,sse4.1,svm"
        for check, kind, text in (
            ("full", OperationFailed, f"guest CPU doesn't match specification: {wrong}"),
            ("partial", CpuIncompatible, "Host CPU does not provide required features: sse4.1"),
        ):
            self.want(check, aes="optional")
            taking = Deferred.fromCoroutine(take_in_cpu(self.guest, self.setting()))
            error: Any = await self.assertFailure(taking, kind)
            self.assertEqual((error.domain, error.message), (c.VIR_FROM_CPU, f"{error.plain}: {text}"))
            self.assertEqual(self.features(), [("aes", "optional")])
            self.assertIsNone(self.guest.details.cpu)

    async def test_asked_once(self) -> None:
        """What QEMU makes of the same words is remembered, as long as it is the same binary."""
        told = []
        for policy in ("require", "optional", "disable"):  # the first two are one to QEMU
            self.want("none", avx=policy)
            await take_in_cpu(self.guest, self.setting())
            told.append((self.monitor.commands.count("qom-list"), self.features()[0]))
        self.assertEqual(told, [(1, ("avx", "disable")), (1, ("avx", "disable")), (2, ("avx", "disable"))])
        self.emulator = attrs.evolve(self.emulator)
        self.want("none", avx="disable")
        await take_in_cpu(self.guest, self.setting())
        self.assertEqual(3, self.monitor.commands.count("qom-list"))
