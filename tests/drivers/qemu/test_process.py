"""QEMU processes: how they start, are found again, and end; with Python in QEMU's place."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotevirt.drivers.qemu import becoming, figures, process
from remotevirt.drivers.qemu.process import QemuProcess, exit_error, find, read_log_tail, spawn
from remotevirt.stubs.errors import VirSystemError
from tests.children import children

ENDLESS = "import signal; signal.pause()"
STUBBORN = (
    "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write({}, b'x'); signal.pause()"
)
LOOK = """
import json, os, resource
mask = os.umask(0)
print(json.dumps({
    "files": [name for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)],
    "environment": dict(os.environ),
    "session": os.getsid(0) == os.getpid(),
    "directory": os.getcwd(),
    "mask": mask,
    "user": [os.getresuid(), os.getresgid(), os.getgroups()],
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "null": os.path.sameopenfile(0, os.open("/dev/null", os.O_RDONLY)),
}))
"""
DAEMON = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
print(child.pid, flush=True)
"""
STARTER = """
import os, signal
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from remotevirt.drivers.qemu.process import spawn
async def start():
    words = ["{python}", "-c", "import signal; signal.pause()"]
    child = await spawn(words, reactor=reactor, environment={{}}, log="{log}", {options})
    while "setpriv" in os.readlink(f"/proc/{{child.pid}}/exe"):
        pass
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
reactor.callWhenRunning(lambda: ensureDeferred(start()))
reactor.run()
"""


PYTHON = "/usr/bin/python3"
"""Debian's own, which every user can run."""


class ProcessCase(TestCase):
    """A folder for logs, and what starts processes there."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.log = self.directory / "log"
        self.ends: list[int | None] = []

    async def spawn(self, code: str, **arguments: Any) -> QemuProcess:
        """A Python that runs this, and is ended with the test at the latest."""
        defaults: dict[str, Any] = {"environment": {}, "log": self.log, "on_exit": self.ends.append}
        child = await spawn([PYTHON, "-c", code], reactor=reactor, **(defaults | arguments))
        self.addCleanup(lambda: ensureDeferred(child.kill(0)))
        return child


class SpawnTests(ProcessCase):
    """How a process starts."""

    async def look(self, **arguments: Any) -> dict[str, Any]:
        """What a process sees of its surroundings."""
        child = await self.spawn(LOOK, **arguments)
        self.assertEqual(0, await child.wait(), read_log_tail(self.log))
        found: dict[str, Any] = json.loads(read_log_tail(self.log, 65536, child.log_start))
        return found

    async def test_surroundings(self) -> None:
        """It has what it was given, and nothing of ours."""
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        found = await self.look(
            environment={"A": "b"},
            descriptors=[reading],
            directory=self.directory,
            limits={resource.RLIMIT_CORE: 0},
        )
        self.assertEqual(["0", "1", "2", str(reading)], sorted(found["files"], key=int))
        self.assertEqual("b", found["environment"].pop("A"))
        self.assertEqual(set(), set(found["environment"]) - {"LC_CTYPE"})
        self.assertEqual(
            (True, str(self.directory), 0o077), (found["session"], found["directory"], found["mask"])
        )
        self.assertTrue(found["null"])
        self.assertEqual([0, 0], found["core"])
        self.assertFalse(os.get_inheritable(reading))

    async def test_ends_with_us(self) -> None:
        """It is killed with whoever has started it, also after a change of user; others go on."""
        for options, ends in (("", False), ("with_us=True, ", becoming._can_become())):
            for user in ("", "uid=65534, gid=65534, ")[: 1 if os.getuid() else 2]:
                code = STARTER.format(python=PYTHON, log=str(self.log), options=options + user)
                path = {"PYTHONPATH": os.pathsep.join(sys.path)}
                words = [sys.executable, "-c", code]
                starter = await spawn(words, reactor=reactor, environment=path, log=self.log)
                self.assertEqual(-signal.SIGKILL, await starter.wait(), read_log_tail(self.log))
                pid = int(read_log_tail(self.log, 65536, starter.log_start).split()[-1])
                pidfd = os.pidfd_open(pid)
                ended = bool(select.select([pidfd], [], [], 10 if ends else 0)[0])
                if not ended:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.close(pidfd)
                self.assertEqual(ends, ended, (options, user))

    async def test_user(self) -> None:
        """With all groups left behind; who is not root may not."""
        if os.getuid():
            await self.assertFailure(ensureDeferred(self.look(uid=0, gid=0)), VirSystemError)
            return
        found = await self.look(uid=65534, gid=65533)
        self.assertEqual([[65534] * 3, [65533] * 3, []], found["user"])
        found = await self.look(uid=65534, gid=65533, groups=[5])
        self.assertEqual([5], found["user"][2])

    async def test_user_without_setpriv(self) -> None:
        """Where there is no setpriv, or one of another make, the process is the same."""
        self.patch(becoming, "_can_become", lambda: False)
        await self.test_user()

    async def test_who_may_not_execute(self) -> None:
        """A user who cannot execute the binary is told so, not by the log."""
        if os.getuid():
            return
        program = self.directory / "program"
        program.write_text("#!/bin/true\n")
        program.chmod(0o700)
        for uid in (65534, 65533):
            spawning = spawn([str(program)], reactor=reactor, environment={}, log=self.log, uid=uid, gid=uid)
            error = await self.assertFailure(ensureDeferred(spawning), VirSystemError)
            self.assertIn(f"cannot execute binary {program}: Permission denied", str(error))

    async def test_half_a_user(self) -> None:
        await self.assertFailure(ensureDeferred(self.spawn("", uid=5)), ValueError)
        await self.assertFailure(ensureDeferred(self.spawn("", descriptors=[1])), ValueError)

    async def test_log(self) -> None:
        """Output and errors are appended, in a file for us only."""
        for number in (1, 2):
            child = await self.spawn(f"import os; os.write(1, b'out'); os.write(2, b'err{number}\\n')")
            await child.wait()
        self.assertEqual("outerr1\nouterr2\n", self.log.read_text())
        self.assertEqual(len("outerr1\n"), child.log_start)
        self.assertEqual(0o600, self.log.stat().st_mode & 0o777)

    async def test_log_is_a_link(self) -> None:
        target = self.directory / "target"
        target.touch()
        self.log.symlink_to(target)
        await self.assertFailure(ensureDeferred(self.spawn("print(5)")), VirSystemError)
        self.assertEqual("", target.read_text())

    async def test_no_binary(self) -> None:
        starting = ensureDeferred(spawn(["/nowhere/qemu"], reactor=reactor, environment={}, log=self.log))
        error = await self.assertFailure(starting, VirSystemError)
        self.assertEqual("cannot execute binary /nowhere/qemu: No such file or directory", error.message)

    async def test_cancelled(self) -> None:
        """Nothing is left of a process that nobody waits for; the wait ends when it is gone."""
        before = children()
        starting = ensureDeferred(self.spawn(ENDLESS))
        starting.cancel()
        self.assertNoResult(starting)
        await self.assertFailure(starting, CancelledError)
        self.assertEqual(before, children())

    async def test_many_descriptors(self) -> None:
        """Starting, watching and ending leave none of ours open."""
        await (await self.spawn("")).wait()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await (await self.spawn("")).wait()
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))


class EndTests(ProcessCase):
    """How a process ends."""

    async def test_status(self) -> None:
        child = await self.spawn("raise SystemExit(7)")
        self.assertEqual([], self.ends)
        self.assertEqual(7, await child.wait())
        self.assertEqual(([7], True, 7), (self.ends, child.exited, await child.wait()))
        self.assertEqual((False, 7), (child.signal(0), await child.kill()))
        self.assertEqual([7], self.ends)

    async def test_signal(self) -> None:
        child = await self.spawn(ENDLESS)
        self.assertTrue(child.signal(0))
        self.assertTrue(child.signal(signal.SIGUSR1))
        self.assertEqual(-signal.SIGUSR1, await child.wait())

    async def test_gentle(self) -> None:
        child = await self.spawn(ENDLESS)
        self.assertEqual(-signal.SIGTERM, await child.kill())

    async def test_stubborn(self) -> None:
        """What does not end by SIGTERM is killed."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        child = await self.spawn(STUBBORN.format(writing), descriptors=[writing])
        os.close(writing)
        self.assertEqual(b"x", os.read(reading, 1))
        self.assertEqual(-signal.SIGKILL, await child.kill(0.05))

    async def test_stopped(self) -> None:
        child = await self.spawn(ENDLESS)
        child.signal(signal.SIGSTOP)
        self.assertEqual(-signal.SIGKILL, await child.kill(0))

    async def test_undying(self) -> None:
        """What the kernel does not let go is an error in the end."""
        child = await self.spawn(ENDLESS)
        self.patch(process, "KILL_SECONDS", 0.01)
        self.patch(child, "signal", lambda number: True)
        error = await self.assertFailure(ensureDeferred(child.kill(0)), VirSystemError)
        text = f"Failed to terminate process {child.pid} with SIGKILL: Device or resource busy"
        self.assertEqual(text, error.message)
        del child.signal

    async def test_bug_of_a_listener(self) -> None:
        """It is logged, and who waits is told."""
        child = await self.spawn("", on_exit=lambda status: 1 // 0)
        self.assertEqual(0, await child.wait())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    async def test_waiting_given_up(self) -> None:
        child = await self.spawn(ENDLESS)
        waiting = child.wait()
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        self.assertEqual(-signal.SIGTERM, await child.kill())

    async def test_forgotten(self) -> None:
        """It goes on, and nobody is told."""
        child = await self.spawn(ENDLESS)
        waiting = child.wait()
        child.forget()
        await self.assertFailure(waiting, CancelledError)
        self.assertFalse(child.signal(0))
        again = find(child.pid, child.start_time, child.boot, reactor=reactor)
        assert again is not None
        self.assertEqual(-signal.SIGKILL, await again.kill(0))
        self.assertEqual([], self.ends)
        # The zombie was reaped by the one that was found.
        child._child.wait()
        child.exited = True


class FindTests(ProcessCase):
    """How a process of a daemon before us is found."""

    def orphan(self) -> int:
        """The number of a process whose daemon has been killed."""
        daemon = subprocess.Popen([sys.executable, "-c", DAEMON + ENDLESS], stdout=subprocess.PIPE)
        assert daemon.stdout is not None
        with daemon.stdout as output:
            pid = int(output.readline())
        pidfd = os.pidfd_open(pid)
        self.addCleanup(os.close, pidfd)
        self.addCleanup(self.end, pidfd)
        daemon.kill()
        daemon.wait()
        return pid

    def end(self, pidfd: int) -> None:
        """Leave no process behind, whatever failed."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def find(self, pid: int, **arguments: Any) -> QemuProcess | None:
        """Look for a process that is there."""
        found = figures.task_figures(pid)
        start = found.start_time if found else 0
        defaults = {"start_time": start, "boot": figures.boot_id(), "program": sys.executable}
        return find(pid, reactor=reactor, on_exit=self.ends.append, **(defaults | arguments))

    async def test_orphan(self) -> None:
        """Its end is seen, and its status not known."""
        child = self.find(self.orphan())
        assert child is not None
        self.assertFalse(child.exited)
        self.assertIsNone(await child.kill())
        self.assertEqual(([None], True), (self.ends, child.exited))
        self.assertIsNone(self.find(child.pid, start_time=child.start_time))

    async def test_somebody_else(self) -> None:
        """One mark that differs is enough."""
        pid = self.orphan()
        found = figures.task_figures(pid)
        assert found is not None
        for wrong in (
            {"start_time": found.start_time + 1},
            {"boot": "5d6c4bd2-9d7c-4a8e-8e5c-000000000000"},
            {"program": "/bin/true"},
        ):
            self.assertIsNone(self.find(pid, **wrong))
        child = self.find(pid)
        assert child is not None
        await child.kill(0)

    def test_nobody(self) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        for pid in (gone.pid, 0, -1):
            self.assertIsNone(self.find(pid))

    def test_zombie(self) -> None:
        """It has ended, though its number is not free yet."""
        child = subprocess.Popen([sys.executable, "-c", ENDLESS])
        found = figures.task_figures(child.pid)
        assert found is not None
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.assertIsNone(find(child.pid, found.start_time, figures.boot_id(), reactor=reactor))
        child.wait()


class LogTests(SynchronousTestCase):
    """The end of a log, in an error's text."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def test_tail(self) -> None:
        self.path.write_bytes(b"old\n" * 1000 + b"qemu-system-x86_64: -device x: no such thing\n")
        self.assertEqual("such thing", read_log_tail(self.path, 11))
        self.assertEqual("qemu-system-x86_64: -device x: no such thing", read_log_tail(self.path, start=4000))
        self.assertEqual("", read_log_tail(self.path, start=10**6))

    def test_hostile(self) -> None:
        """No bytes that a terminal would obey."""
        self.path.write_bytes(b"a\x1b[2J\0\xff\rb\n\xc2\x9bc\n")
        self.assertEqual("a[2J\ufffdb\nc", read_log_tail(self.path))

    def test_none(self) -> None:
        self.assertEqual("", read_log_tail(self.path))
        os.mkfifo(self.path)
        self.assertEqual("", read_log_tail(self.path))

    def test_error(self) -> None:
        what = "internal error: qemu unexpectedly closed the monitor"
        self.assertEqual(what, exit_error(self.path).message)
        self.path.write_text("before\nno\n")
        self.assertEqual(f"{what}: no", exit_error(self.path, 7).message)


class FiguresTests(SynchronousTestCase):
    """What the kernel says."""

    def test_process(self) -> None:
        """As the C library has it."""
        found = figures.task_figures(os.getpid())
        assert found is not None
        times = os.times()
        self.assertAlmostEqual(times.user, found.user / 1e9, delta=1)
        self.assertAlmostEqual(times.system, found.system / 1e9, delta=1)
        self.assertEqual(found.user + found.system, found.cpu)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # The kernel's count is off by some pages for each thread.
        self.assertTrue(1024 < found.rss < most + 1024, (found.rss, most))
        self.assertIn(found.last_cpu, range(os.cpu_count() or 1))

    def test_threads(self) -> None:
        """Only those of the process that is asked about."""
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait)
        thread.start()
        try:
            self.assertIn(thread.native_id, figures.thread_ids(os.getpid()))
            found = figures.task_figures(os.getpid(), thread.native_id)
            assert found is not None
            whole = figures.task_figures(os.getpid())
            assert whole is not None
            self.assertIn(found.state, "RSD")
            self.assertGreater(found.start_time, whole.start_time)
            self.assertLessEqual(found.cpu, whole.cpu)
            self.assertEqual(os.sched_getaffinity(0), figures.affinity(os.getpid(), thread.native_id))
        finally:
            ended.set()
            thread.join()
        self.assertIsNone(figures.task_figures(os.getpid(), 1))
        self.assertIsNone(figures.affinity(os.getpid(), 1))

    def test_names_that_lie(self) -> None:
        """A process cannot make up figures by its name."""
        code = (
            "with open('/proc/self/comm', 'w') as name: name.write(') Z 1 2 (')\nprint(flush=True); input()"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as child:
            assert child.stdout is not None
            child.stdout.readline()
            found = figures.task_figures(child.pid)
            child.communicate(b"\n")
        assert found is not None
        self.assertNotEqual("Z", found.state)
        self.assertGreater(found.rss, 1024)

    def test_storage(self) -> None:
        before = figures.io_figures(os.getpid())
        assert before is not None
        path = Path(self.mktemp())
        path.write_bytes(b"x" * 65536)
        after = figures.io_figures(os.getpid())
        assert after is not None
        self.assertGreaterEqual(after.written - before.written, 0)

    def test_nobody(self) -> None:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        self.assertIsNone(figures.task_figures(gone.pid))
        self.assertIsNone(figures.io_figures(gone.pid))
        self.assertIsNone(figures.affinity(gone.pid))
        self.assertEqual((), figures.thread_ids(gone.pid))

    def test_boot(self) -> None:
        self.assertRegex(figures.boot_id(), r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
