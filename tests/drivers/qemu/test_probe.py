"""What emulators can do: real ones, ones that are none, and how it is remembered."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotevirt.drivers.qemu import probe as module
from remotevirt.drivers.qemu.emulator import CpuModel, Emulator, Machine
from remotevirt.drivers.qemu.probe import EmulatorCache, probe
from remotevirt.drivers.qemu.probe_memory import ProbeMemory
from remotevirt.stubs.errors import InternalError, OperationTimeout, VirSystemError
from tests.children import children

QEMU = shutil.which("qemu-system-x86_64")
QEMU_ARM = shutil.which("qemu-system-aarch64")

FAKE = """#!%s
import json, re, socket, sys
number = int(re.search("fd=([0-9]+)", " ".join(sys.argv))[1])
link = socket.socket(fileno=number).accept()[0].makefile("rwb", buffering=0)
link.write(b'{"QMP": {"capabilities": []}}\\n')
answers = {
    "query-version": {"qemu": {"major": 1, "minor": 2, "micro": 3}, "package": ""},
    "query-target": {"arch": "arm"},
    "query-machines": [],
    "qom-list-types": [],
    "query-kvm": {"present": True},
}
if "kvm" in sys.argv:
    sys.exit("no KVM here")
answers |= %r
for line in link:
    command = json.loads(line)
    name = command["execute"]
    if name == "query-cpu-definitions" and name not in answers:
        answer = {"error": {"class": "CommandNotFound", "desc": "no"}}
    else:
        answer = {"return": answers.get(name, {})}
    link.write(json.dumps(answer | {"id": command["id"]}).encode() + b"\\n")
    if name == "quit":
        break
"""


class FakeCase(TestCase):
    """A folder with binaries that claim to be QEMU."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.before = children()

    def script(self, text: str, name: str = "qemu") -> str:
        """The path of a program."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def fake(self, answers: dict[str, Any], name: str = "qemu") -> str:
        """The path of what answers so."""
        return self.script(FAKE % (sys.executable, answers), name)

    async def refuse(self, path: str, kind: type[Exception], text: str) -> None:
        """A probe that fails leaves no process behind."""
        error = await self.assertFailure(ensureDeferred(probe(path, reactor=reactor)), kind)
        self.assertEqual(text, error.message)
        self.assertEqual(self.before, children())


class FakeTests(FakeCase):
    """What is no QEMU, or a strange one."""

    async def test_least(self) -> None:
        """An emulator that can do nothing, and loses its KVM."""
        found = await probe(self.fake({}), reactor=reactor)
        expected = Emulator(str(self.directory / "qemu"), "armv7l", (1, 2, 3))
        self.assertEqual(expected, found)

    async def test_no_file(self) -> None:
        text = "cannot execute binary /nowhere/qemu: No such file or directory"
        await self.refuse("/nowhere/qemu", VirSystemError, text)

    async def test_no_folder(self) -> None:
        self.patch(tempfile, "tempdir", str(self.directory / "none"))
        path = self.fake({})
        text = f"cannot probe QEMU binary {path}: No such file or directory"
        await self.refuse(path, VirSystemError, text)

    async def test_no_qemu(self) -> None:
        path = self.script(f"#!{sys.executable}\nimport sys; sys.exit('I am something else')")
        text = f"internal error: Failed to start QEMU binary {path} for probing: I am something else"
        await self.refuse(path, InternalError, text)

    async def test_silence(self) -> None:
        self.patch(module, "PROBE_SECONDS", 0.2)
        path = self.script(f"#!{sys.executable}\nimport signal; signal.pause()")
        await self.refuse(path, OperationTimeout, "Timed out during operation: QEMU's monitor did not answer")

    async def test_nonsense(self) -> None:
        """Answers that are not what they should be."""
        machine = {"name": "m", "cpu-max": 1}
        for answers, command in (
            ({"query-version": []}, "query-version"),
            ({"query-version": {"qemu": {"major": True}}}, "query-version"),
            ({"query-target": {"arch": 5}}, "query-target"),
            ({"query-machines": {}}, "query-machines"),
            ({"query-machines": [machine, machine | {"cpu-max": "1"}]}, "query-machines"),
            ({"qom-list-types": [{}]}, "qom-list-types"),
            ({"query-cpu-definitions": {}}, "query-cpu-definitions"),
            (
                {"query-cpu-definitions": [{"name": "a", "unavailable-features": "x"}]},
                "query-cpu-definitions",
            ),
            ({"query-kvm": 1}, "query-kvm"),
        ):
            text = f"internal error: unexpected answer of QEMU to '{command}'"
            await self.refuse(self.fake(answers), InternalError, text)

    async def test_cancelled(self) -> None:
        """It ends the process."""
        asking = ensureDeferred(probe(self.fake({}), reactor=reactor))
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        self.assertEqual(self.before, children())


@skipUnless(QEMU and QEMU_ARM, "needs qemu-system-x86_64 and qemu-system-aarch64")
class QemuTests(TestCase):
    """Real ones."""

    async def test_x86(self) -> None:
        found = await probe(QEMU or "", reactor=reactor)
        self.assertEqual("x86_64", found.arch)
        self.assertGreaterEqual(found.version, (5, 0, 0))
        q35 = found.machine("q35")
        assert q35 is not None and found.default_machine is not None
        self.assertRegex(q35.name, r"^pc-q35-\d+\.\d+$")
        self.assertGreaterEqual(q35.max_cpus, 255)
        self.assertTrue(q35.hotpluggable_cpus)
        self.assertEqual("pc.ram", q35.default_memory)
        self.assertIn("i440fx", found.default_machine)
        self.assertLessEqual({"virtio-blk-pci", "virtio-net-pci", "qemu-xhci"}, found.devices)
        self.assertLessEqual({"memory-backend-memfd", "secret", "rng-random"}, found.objects)
        self.assertEqual((), found.cpus["max"].blockers)
        if found.kvm:
            self.assertEqual((), found.kvm_cpus["host"].blockers)
            self.assertEqual(found.cpus.keys(), found.kvm_cpus.keys())
        else:
            self.assertEqual({}, found.kvm_cpus)

    async def test_arm(self) -> None:
        found = await probe(QEMU_ARM or "", reactor=reactor)
        self.assertEqual(("aarch64", None), (found.arch, found.default_machine))
        virt = found.machine("virt")
        assert virt is not None
        self.assertRegex(virt.name, r"^virt-\d+\.\d+$")
        self.assertIsNone(found.cpus["cortex-a57"].blockers)

    async def test_all(self) -> None:
        cache = EmulatorCache(reactor)
        found = {emulator.arch: emulator for emulator in await cache.all()}
        self.assertLessEqual({"x86_64", "aarch64"}, found.keys())
        self.assertIs(found["x86_64"], await cache.find("x86_64"))


class CacheTests(SynchronousTestCase):
    """What is remembered, and for how long."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.path = self.binary("x86_64")
        self.asked: list[tuple[str, Deferred[Emulator]]] = []
        self.cache = EmulatorCache(None, uid=5, gid=6, directories=[str(self.directory)], ask=self.ask)

    def binary(self, name: str) -> str:
        """The path of something executable."""
        path = self.directory / f"qemu-system-{name}"
        path.write_text("x")
        path.chmod(0o755)
        return str(path)

    async def ask(self, path: str, *, reactor: Any, uid: int, gid: int, groups: Any) -> Emulator:
        """A probe that the test ends."""
        self.assertEqual((None, 5, 6, ()), (reactor, uid, gid, groups))
        answer: Deferred[Emulator] = Deferred()
        self.asked.append((path, answer))
        return await answer

    def get(self, path: str | None = None) -> Deferred[Emulator]:
        """Ask the cache."""
        return ensureDeferred(self.cache.get(path or self.path))

    def answer(self, place: int = -1) -> Emulator:
        """End a probe."""
        path, answer = self.asked[place]
        emulator = Emulator(path, "x86_64", (7, 2, 0))
        answer.callback(emulator)
        return emulator

    def test_once(self) -> None:
        """Whoever comes meanwhile or later gets the same answer."""
        first, second = self.get(), self.get()
        emulator = self.answer()
        third = self.get()
        for one in (first, second, third):
            self.assertIs(emulator, self.successResultOf(one))
        self.assertEqual(1, len(self.asked))

    def test_changed(self) -> None:
        self.get()
        self.answer()
        os.utime(self.path, ns=(1, 1))
        again = self.get()
        self.assertIs(self.answer(), self.successResultOf(again))
        self.assertEqual(2, len(self.asked))

    def test_kvm_changed(self) -> None:
        self.patch(module, "KVM_DEVICE", str(self.directory / "kvm"))
        self.get()
        self.answer()
        (self.directory / "kvm").touch()
        self.assertNoResult(self.get())

    def test_failure(self) -> None:
        """All are told, and the next one tries again."""
        first, second = self.get(), self.get()
        self.asked[0][1].errback(InternalError("no"))
        self.failureResultOf(first, InternalError)
        self.failureResultOf(second, InternalError)
        again = self.get()
        self.assertIs(self.answer(), self.successResultOf(again))

    def test_one_at_a_time(self) -> None:
        other = self.binary("aarch64")
        first, second = self.get(), self.get(other)
        self.assertEqual([self.path], [path for path, _ in self.asked])
        self.answer()
        self.assertEqual(self.path, self.successResultOf(first).path)
        self.answer()
        self.assertEqual(other, self.successResultOf(second).path)

    def test_given_up(self) -> None:
        """Who gives up takes nothing from others; what nobody waits for is not asked."""
        other = self.binary("aarch64")
        first, second, third = self.get(), self.get(), self.get(other)
        first.cancel()
        third.cancel()
        self.failureResultOf(first, CancelledError)
        self.failureResultOf(third, CancelledError)
        self.assertIs(self.answer(), self.successResultOf(second))
        self.assertEqual(1, len(self.asked))
        again = self.get(other)
        self.assertIs(self.answer(), self.successResultOf(again))

    def test_close(self) -> None:
        waiting = [self.get(), self.get(self.binary("arm"))]
        self.cache.close()
        for one in waiting:
            self.failureResultOf(one, CancelledError)
        self.assertTrue(self.asked[0][1].called)

    def test_bounded(self) -> None:
        for number in range(module.EMULATORS_MAXIMUM + 1):
            self.get(self.binary(str(number)))
            self.answer()
        self.assertNoResult(self.get(self.binary("0")))
        self.successResultOf(self.get(self.asked[-2][0]))

    def test_find(self) -> None:
        """By libvirt's names, only what can be executed."""
        arm = self.binary("arm")
        (self.directory / "qemu-system-ppc").touch()
        ensureDeferred(self.cache.find("armv7l"))
        self.assertEqual(arm, self.asked[-1][0])
        for arch in ("ppc", "sparc"):
            self.assertIsNone(self.successResultOf(ensureDeferred(self.cache.find(arch))))

    def test_all(self) -> None:
        """Those that fail are left out."""
        self.binary("aarch64")
        found = ensureDeferred(self.cache.all())
        self.asked[0][1].errback(InternalError("no"))
        emulator = self.answer()
        self.assertEqual([emulator], self.successResultOf(found))

    def test_no_file(self) -> None:
        error = self.failureResultOf(self.get("/nowhere/qemu"), VirSystemError).value
        self.assertEqual("Cannot check QEMU binary /nowhere/qemu: No such file or directory", error.message)


class MemoryTests(TestCase):
    """What a daemon leaves to the next one."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.asked: list[str] = []

    def cache(self) -> EmulatorCache:
        """The cache of a daemon that starts."""

        async def ask(path: str, **_: Any) -> Emulator:
            self.asked.append(path)
            machine = Machine("pc-1", alias="pc", max_cpus=8)
            cpus = {"a": CpuModel("a", ("avx",)), "b": CpuModel("b")}
            return Emulator(
                path,
                "x86_64",
                (7, 2, 22),
                machines={"pc-1": machine},
                devices=frozenset({"e1000"}),
                cpus=cpus,
            )

        return EmulatorCache(Clock(), ask=ask, memory=ProbeMemory(self.path))

    async def test_next_daemon(self) -> None:
        """It need not ask, as long as the binary is the same."""
        binary = Path(self.mktemp())
        binary.write_text("1")
        first = await self.cache().get(str(binary))
        self.assertEqual(first, await self.cache().get(str(binary)))
        self.assertEqual([str(binary)], self.asked)
        binary.write_text("12")
        await self.cache().get(str(binary))
        self.assertEqual(2, len(self.asked))

    async def test_of_no_use(self) -> None:
        """What makes no sense counts for nothing, and is replaced."""
        good = await self.cache().get("/bin/sh")
        content = self.path.read_text()
        for text in (
            "",
            "{",
            "[]",
            content.replace('"format": 1', '"format": 0'),
            content.replace("marks", "m"),
        ):
            self.path.write_text(text)
            self.assertEqual(good, await self.cache().get("/bin/sh"))
            self.assertEqual(content, self.path.read_text())
        self.assertEqual(6, len(self.asked))
        self.assertEqual(0o600, self.path.stat().st_mode & 0o777)
