"""Work that takes long: others are not held up, are refused what would disturb it, and it can be stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread

from remotevirt.drivers.disk_threads import Stop, in_thread, open_in_thread
from remotevirt.drivers.storage import aside, directory
from remotevirt.drivers.storage.aside import run
from remotevirt.errors import VirError
from remotevirt.stubs.errors import OperationTimeout
from tests.drivers.storage.driving import StorageCase, descriptors, volume_xml
from tests.drivers.storage.test_volumes import VolumeCase

BUSY = "pool 'p' has asynchronous jobs running."


class Gate:
    """Holds a thread up until it is opened, or asked to stop."""

    def __init__(self, case: VolumeCase, name: str) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.real = getattr(directory, name)
        case.patch(directory, name, self)
        case.addCleanup(self.opened.set)

    def __call__(self, stop: Stop, *args: Any, **kwargs: Any) -> Any:
        self.entered.set()
        while not self.opened.wait(0.005):
            stop.check()
        return self.real(stop, *args, **kwargs)

    async def reached(self) -> None:
        """Wait until a thread is there."""
        self_reached = await deferToThread(self.entered.wait, 30)
        assert self_reached


class LongTests(VolumeCase):
    """A volume that is being made, copied or wiped."""

    async def test_volume_that_is_being_made(self) -> None:
        gate = Gate(self, "make_raw")
        work = Deferred.fromCoroutine(
            self.storage.storage_vol_create_xml(self.ref, volume_xml("v", allocation=None), 0)
        )
        await gate.reached()
        vol = await self.call("storage_vol_lookup_by_name", self.ref, "v")
        self.assertNotIn("v", self.left())
        await self.call("storage_vol_get_info", vol)
        await self.call("storage_vol_get_xml_desc", vol, 0)
        text = "Requested operation is not valid: volume 'v' is still being allocated."
        for name, args in (
            ("delete", (0,)),
            ("wipe", (0,)),
            ("resize", (5, 4)),
            ("upload", (0, 0, 0)),
            ("download", (0, 0, 0)),
        ):
            await self.no(text, f"storage_vol_{name}", vol, *args)
        await self.no(text, "storage_vol_create_xml_from", self.ref, volume_xml("w"), vol, 0)
        await self.no(text, "locate", "p", "v")
        for name, args in (("destroy", ()), ("refresh", (0,))):
            await self.no(BUSY, f"storage_pool_{name}", self.ref, *args)
        await self.no(
            "storage volume 'v' exists already", "storage_vol_create_xml", self.ref, volume_xml("v"), 0
        )
        await self.make(self.ref, "other", kind="dir")
        gate.opened.set()
        self.assertEqual(vol, await work)
        self.assertEqual(["other", "v"], self.left())
        await self.call("storage_pool_refresh", self.ref, 0)

    async def test_volume_that_is_wiped(self) -> None:
        vol = await self.make(self.ref, "v", allocation=None)
        gate = Gate(self, "wipe")
        work = self.storage.storage_vol_wipe(vol, 0)
        await gate.reached()
        text = "Requested operation is not valid: volume 'v' is still in use."
        await self.no(text, "storage_vol_delete", vol, 0)
        await self.no(text, "storage_vol_wipe", vol, 0)
        await self.no(BUSY, "storage_pool_destroy", self.ref)
        gate.opened.set()
        await work
        await self.call("storage_vol_delete", vol, 0)

    async def test_client_that_goes(self) -> None:
        gate = Gate(self, "make_raw")
        work = Deferred.fromCoroutine(self.storage.storage_vol_create_xml(self.ref, volume_xml("v"), 0))
        await gate.reached()
        work.cancel()
        with contextlib.suppress(CancelledError):
            await work
        await self._settled()
        self.assertEqual([], self.left())
        self.assertEqual([], await self.names(self.ref))
        await self.call("storage_pool_destroy", self.ref)

    async def test_client_that_goes_when_the_volume_is_there(self) -> None:
        """What has its name already is a volume of the pool."""
        published = threading.Event()
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        real = directory.Draft.publish

        def publish(draft: Any, stop: Stop, *args: Any) -> None:
            real(draft, stop, *args)
            published.set()
            go_on.wait(30)

        self.patch(directory.Draft, "publish", publish)
        work = Deferred.fromCoroutine(self.storage.storage_vol_create_xml(self.ref, volume_xml("v"), 0))
        await deferToThread(published.wait, 30)
        work.cancel()
        go_on.set()
        with contextlib.suppress(CancelledError):
            await work
        await self._settled()
        self.assertEqual(["v"], self.left())
        self.assertEqual(["v"], await self.names(self.ref))

    async def test_folder_is_opened_in_a_thread(self) -> None:
        """The folder of a pool may be one of another host, that does not answer."""
        vol = await self.make(self.ref, "q", kind="qcow2")
        threads: list[int] = []
        real = os.open

        def opened(path: Any, *args: Any, **kwargs: Any) -> int:
            if str(path).startswith(str(self.path)):
                threads.append(threading.get_ident())
            return real(path, *args, **kwargs)

        self.patch(os, "open", opened)
        await self.call("storage_vol_resize", vol, 1 << 21, 0)
        self.assertNotEqual([], threads)
        self.assertNotIn(threading.get_ident(), threads)

    async def _settled(self) -> None:
        """Wait until nobody works on the pool any more."""
        for _ in range(2000):
            pool = self.storage.pools.by_name["p"]
            if not pool.jobs:
                return
            await deferToThread(os.getpid)
        raise self.failureException("the work does not end")

    async def test_volume_that_fails_leaves_nothing(self) -> None:
        def fail(stop: Stop, *args: Any, **kwargs: Any) -> None:
            raise VirError("no luck")

        self.patch(directory, "make_raw", fail)
        await self.no("no luck", "storage_vol_create_xml", self.ref, volume_xml("v"), 0)
        self.assertEqual([], self.left())
        self.assertEqual([], await self.names(self.ref))
        self.assertEqual(0, self.storage.pools.by_name["p"].jobs)

    async def test_volume_that_is_made_while_the_pool_is_looked_at(self) -> None:
        """What is made in the middle of a look is not forgotten by it."""
        gate = Gate(self, "scan")
        look = Deferred.fromCoroutine(self.storage.storage_pool_refresh(self.ref, 0))
        await gate.reached()
        await self.make(self.ref, "v")
        gate.opened.set()
        await look
        self.assertEqual(["v"], await self.names(self.ref))

    async def test_name_that_is_taken_meanwhile(self) -> None:
        gate = Gate(self, "make_raw")
        work = Deferred.fromCoroutine(self.storage.storage_vol_create_xml(self.ref, volume_xml("v"), 0))
        await gate.reached()
        (self.path / "v").write_bytes(b"theirs")
        gate.opened.set()
        await self.refused(work, f"volume target path '{self.path}/v' already exists")
        self.assertEqual(b"theirs", (self.path / "v").read_bytes())
        self.assertEqual(["v"], self.left())


class ProgramTests(StorageCase):
    """Programs."""

    async def test_output(self) -> None:
        self.assertEqual(b"one two\n", await run("/", "/bin/echo", ["one", "two"]))

    async def test_failure(self) -> None:
        text = "Child process (/bin/sh -c echo no >&2; exit 3) unexpected exit status 3: no"
        await self.refused(run("/", "/bin/sh", ["-c", "echo no >&2; exit 3"]), text)
        await self.refused(run("/", "/bin/sh", ["-c", "kill -9 $$"]), "unexpected fatal signal 9")

    async def test_flood(self) -> None:
        self.patch(aside, "MAX_OUTPUT", 1000)
        await self.refused(run("/", "/usr/bin/yes", []), "unexpected flood of words")

    async def test_secret(self) -> None:
        found = await run("/", "/bin/cat", ["/proc/self/fd/4"], secret=b"sesame")
        self.assertEqual(b"sesame", found)

    async def test_killed_when_nobody_waits(self) -> None:
        work = Deferred.fromCoroutine(run("/", "/bin/sleep", ["1000"]))
        await deferToThread(os.getpid)
        work.cancel()
        await self.assertFailure(work, CancelledError)

    async def test_descriptor_that_nobody_waits_for(self) -> None:
        """What is opened after its client has gone is closed."""
        entered, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)

        def work(stop: Stop, path: str) -> int:
            entered.set()
            go_on.wait(30)
            return os.open(path, os.O_RDONLY)

        await deferToThread(os.getpid)  # the reactor runs, and has what it needs
        before = descriptors()
        waiting = Deferred.fromCoroutine(open_in_thread("/dev", work, "/dev/null"))
        await deferToThread(entered.wait, 30)
        waiting.cancel()
        go_on.set()
        await self.assertFailure(waiting, CancelledError)
        self.assertEqual(before, descriptors())

    async def test_thread_that_is_stopped(self) -> None:
        ended = threading.Event()
        entered = threading.Event()

        def work(stop: Stop) -> None:
            entered.set()
            try:
                while not ended.wait(0.005):
                    stop.check()
            finally:
                ended.set()

        waiting = Deferred.fromCoroutine(in_thread("/", work))
        await deferToThread(entered.wait, 30)
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        self.assertTrue(ended.is_set())

    async def test_program_that_does_not_get_on(self) -> None:
        """It is killed, whoever else has its pipes, and others run meanwhile."""
        self.patch(aside, "IDLE_SECONDS", 1.0)
        note = self.folder / "helper"
        words = ["-c", f"sleep 1000 & echo $! > {note}; wait"]
        begun = Deferred.fromCoroutine(run("/slow", "/bin/sh", words))
        self.assertEqual(b"", await run("/slow", "/bin/true", []))
        error = await self.assertFailure(begun, OperationTimeout)
        self.assertIn("sh does not get on: the storage at '/slow' does not answer", str(error))
        self.assertEqual(0, len(aside._short.lanes))
        os.kill(int(note.read_text()), signal.SIGKILL)

    async def test_program_that_works(self) -> None:
        """One that uses CPU time is let go on, for longer than it may do nothing."""
        self.patch(aside, "IDLE_SECONDS", 0.5)
        busy = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
        self.assertEqual(b"", await run("/", sys.executable, ["-c", busy]))

    async def test_long_work_leaves_room(self) -> None:
        """As many as may run wait for a disk; the next one with short work does not wait for them."""
        works = [
            Deferred.fromCoroutine(run("/slow", "/bin/sleep", ["1000"], long=True))
            for _ in range(aside.PROGRAMS + 1)
        ]
        self.assertEqual(b"", await run("/slow", "/bin/true", []))
        aside.kill_all()
        for work in works[: aside.PROGRAMS]:
            await self.refused(work, "unexpected fatal signal 9")
        works[-1].cancel()
        await self.assertFailure(works[-1], CancelledError)
        self.assertEqual(0, len(aside._long.lanes))

    async def test_program_that_cannot_be_killed(self) -> None:
        """Nobody waits for it, and its turn is taken until it ends."""
        self.patch(aside, "IDLE_SECONDS", 0.3)
        self.patch(aside, "KILL_SECONDS", 0.3)
        real = aside._Run.kill

        def kill(one: Any) -> None:
            transport, one.transport = one.transport, None
            real(one)
            one.transport = transport

        self.patch(aside._Run, "kill", kill)
        for _ in range(aside.PROGRAMS):
            error = await self.assertFailure(
                Deferred.fromCoroutine(run("/slow", "/bin/sleep", ["1000"])), OperationTimeout
            )
            self.assertIn("does not get on", str(error))
        late = Deferred.fromCoroutine(run("/slow", "/bin/true", []))
        await self.assertFailure(late, OperationTimeout)
        self.assertEqual(b"", await run("/fast", "/bin/true", []))
        ended = [one.ended for one in tuple(aside._running)]
        for one in tuple(aside._running):
            assert one.transport is not None
            one.transport.signalProcess("KILL")
        for end in ended:
            await end
        self.assertEqual(b"", await run("/slow", "/bin/true", []))
