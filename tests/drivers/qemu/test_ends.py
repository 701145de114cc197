"""Ends of guests whose QEMU is played: who waits, who is cancelled, and what is kept of it."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from remotevirt.drivers.journal import Journal
from remotevirt.drivers.qemu import starting
from remotevirt.drivers.qemu.documents import definitions_for
from remotevirt.drivers.qemu.guest import Details, Guest, Owner
from remotevirt.drivers.qemu.keeping import QemuKeeper
from remotevirt.drivers.qemu.launching import PID_FILE
from remotevirt.drivers.qemu.logs import log_path
from remotevirt.drivers.qemu.monitor import MonitorHungUp
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.reviving import _noted_by_qemu, take_in
from remotevirt.drivers.qemu.running import stop_cpus
from remotevirt.drivers.qemu.settings import Settings
from remotevirt.drivers.qemu.stopping import CRASHED, DESTROYED, FAILED, abandon, end, gone
from remotevirt.drivers.qemu.watching import heard
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.store import GuestRow, Store
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, OperationTimeout, VirSystemError
from remotevirt.xml.domain.small import Watchdog
from tests.drivers.qemu.pretending import Emulators
from tests.drivers.qemu.recorded import recorded_emulators

XML = (
    "<domain type='qemu'><name>g</name><uuid>8a9b6c1e-0000-4000-8000-000000000000</uuid>"
    "<memory>65536</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
)

USER = (c.VIR_DOMAIN_PAUSED_USER, c.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED)


class FakeProcess:
    """A process that ends when the test says so."""

    pid, start_time, boot, exited, log_start = 2**22, 1, "no boot of this host", False, 0

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.forces: list[bool] = []

    async def kill(self, timeout: float, *, force: bool = True) -> None:
        """Wait for the test."""
        self.forces.append(force)
        await self.ended


class FakeMonitor:
    """A monitor whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Deferred[Any] = Deferred()

    def execute(self, command: str, arguments: Any, *, files: Any, timeout: float) -> Deferred[Any]:
        """Ask the test."""
        self.asked.append(command)
        return self.answer

    def close(self) -> None:
        """Nothing is open."""


class EndTests(TestCase):
    """One guest, with a store."""

    def setUp(self) -> None:
        """Make a world, and start a guest in it."""
        folder = Path(os.path.realpath(self.mktemp()))
        folder.mkdir(parents=True)
        self.path = str(folder / "domains.db")
        self.settings = Settings(folder)
        self.world = self.new_world(Store.create(self.path, []))
        definition = self.world.definitions.parse(XML)
        record = self.world.commit(lambda: self.world.assign(definition, live=True))[0]
        assert isinstance(record, QemuRecord)
        self.record = record
        self.guest = Guest(self.world, record, self.settings.folder(record.uuid), Details())
        self.process, self.monitor = FakeProcess(), FakeMonitor()

    def new_world(self, store: Store) -> QemuWorld:
        """A world of a store."""
        kind = definitions_for(recorded_emulators(), arch="x86_64")
        emulators: Any = None
        world = QemuWorld(self.settings, kind, emulators, Clock())
        world.journal = Journal(store, world.hub, c.VIR_FROM_QEMU)
        world.keeper = QemuKeeper(world, world.journal)
        self.addCleanup(store.close)
        return world

    def begin(self, *, process: bool = True) -> None:
        """Let the guest run, or be about to get a process."""

        def change() -> None:
            self.world.touch(self.record)
            self.record.guest = self.guest
            if process:
                self.guest.process = self.process
                self.guest.monitor = self.monitor
                self.guest.started = True
                self.world.start(self.record, c.VIR_DOMAIN_RUNNING_BOOTED)
            else:
                self.world.start(self.record, c.VIR_DOMAIN_PAUSED_STARTING_UP, c.VIR_DOMAIN_PAUSED)

        self.world.commit(change)

    def rows(self) -> list[GuestRow]:
        """What is on the disk of guests that run; nothing can be changed afterwards."""
        assert self.world.journal is not None
        self.world.journal.store.close()
        store = Store.open(self.path)
        store.close()
        return store.rows.get(GuestRow, [])

    def test_remembered(self) -> None:
        """What changes of a running guest's details alone is on the disk at once."""
        self.begin()
        self.guest.details.owners.append(Owner("/image", 1, 2))
        self.world.commit(self.guest.remember)
        (row,) = self.rows()
        self.assertEqual([{"path": "/image", "uid": 1, "gid": 2}], json.loads(row.details)["owners"])

    async def test_no_process_yet(self) -> None:
        """A guest that is still being started is taken back by the call that starts it; its end waits."""
        self.begin(process=False)
        ending = Deferred.fromCoroutine(end(self.guest, DESTROYED))
        self.assertNoResult(ending)
        self.assertRaises(OperationFailed, self.guest.check_wanted)
        await abandon(self.guest, FAILED)
        self.successResultOf(ending)
        self.assertNotIn(self.record.uuid, self.world.by_uuid)
        self.assertEqual([], self.rows())

    async def test_death_at_start(self) -> None:
        """Of a QEMU that closes its monitor while it starts, the error is what it said since it was there."""
        log = log_path(self.settings, self.record.name)
        log.parent.mkdir(parents=True)
        log.write_text("of another day\nno such CPU\n")
        self.process.log_start = len("of another day\n")
        self.process.ended.callback(None)
        self.world.emulators = Emulators(recorded_emulators()[0])
        outcomes = []
        for error in (MonitorHungUp("End of file"), OperationTimeout("it is silent")):

            async def fail(guest: Guest, *_: object, error: VirError = error, **__: object) -> None:
                guest.process = self.process
                raise error

            self.patch(starting, "launch", fail)
            definition = self.world.definitions.parse(XML)
            record = self.world.commit(partial(self.world.assign, definition, live=True))[0]
            with self.assertRaises(VirError) as caught:
                await starting.start(self.world, record, starting.BOOT)
            outcomes.append(caught.exception.message)
            self.assertNotIn(record.uuid, self.world.by_uuid)
        self.assertEqual(["internal error: qemu unexpectedly closed the monitor: no such CPU"], outcomes[:1])
        self.assertIn("it is silent", outcomes[1])

    def test_cancelled(self) -> None:
        """Who asked for the end may go: the guest ends all the same, once."""
        self.begin()
        ending = Deferred.fromCoroutine(end(self.guest, DESTROYED))
        ending.cancel()
        self.failureResultOf(ending, CancelledError)
        self.assertIs(self.record.guest, self.guest)
        self.process.ended.callback(None)
        self.assertIsNone(self.record.guest)
        self.assertEqual(c.VIR_DOMAIN_SHUTOFF_DESTROYED, self.record.reason)
        self.assertEqual([], self.rows())
        gone(self.guest)

    def test_graceful(self) -> None:
        """A guest that does not end when asked goes on, and its later death is a crash."""
        self.begin()
        ending = Deferred.fromCoroutine(end(self.guest, DESTROYED, graceful=True))
        self.process.ended.errback(VirSystemError("no"))
        self.failureResultOf(ending, VirSystemError)
        self.assertEqual([False], self.process.forces)
        self.guest.check_alive()
        gone(self.guest)
        self.assertEqual(CRASHED[0], self.record.reason)

    def test_late_stop(self) -> None:
        """A QEMU that stops its guest after the deadline is believed, with the reason that was meant."""
        self.begin()
        suspending = Deferred.fromCoroutine(stop_cpus(self.guest, *USER))
        self.monitor.answer.errback(OperationTimeout("late"))
        self.failureResultOf(suspending, OperationTimeout)
        self.assertEqual(c.VIR_DOMAIN_RUNNING, self.record.state)
        heard(self.guest, "STOP", {})
        self.assertEqual((c.VIR_DOMAIN_PAUSED, USER[0]), (self.record.state, self.record.reason))

    def test_lies(self) -> None:
        """Events with nonsense in them, and of guests that are over, change nothing."""
        self.begin()
        for data in ({}, {"action": 5}, {"action": "x" * 5000}, {"id": ["a"], "device": {}, "actual": "9"}):
            for name in (
                "WATCHDOG",
                "BLOCK_IO_ERROR",
                "BALLOON_CHANGE",
                "DEVICE_DELETED",
                "RTC_CHANGE",
                "NONE",
            ):
                heard(self.guest, name, data)
        self.assertEqual(c.VIR_DOMAIN_RUNNING, self.record.state)
        gone(self.guest)
        heard(self.guest, "STOP", {})
        self.assertEqual(c.VIR_DOMAIN_SHUTOFF, self.record.state)

    def test_panics(self) -> None:
        """A guest panics once, however often its QEMU says so: its memory is not kept again and again."""
        self.begin()
        dumps: list[Guest] = []
        never: Deferred[None] = Deferred()

        async def dump(guest: Guest) -> None:
            dumps.append(guest)
            await never

        self.world.dump_panicked = dump
        self.record.live.changing().on_crash = "coredump-destroy"
        self.record.live.model.devices.watchdogs.append(Watchdog("i6300esb", action="dump"))
        for _ in range(9):
            heard(self.guest, "WATCHDOG", {"action": "pause"})
        self.assertEqual(1, len(dumps))
        for _ in range(9):
            heard(self.guest, "GUEST_PANICKED", {})
        self.assertEqual(2, len(dumps))
        self.assertEqual(c.VIR_DOMAIN_CRASHED, self.record.state)

    def test_pipe_for_a_number(self) -> None:
        """Where QEMU should have noted its number there may be anything; nobody waits for what comes out."""
        path = self.guest.folder / PID_FILE
        path.parent.mkdir(parents=True)
        os.mkfifo(path)
        self.assertEqual({}, _noted_by_qemu(self.guest))
        path.unlink()
        path.symlink_to(self.path)
        self.assertEqual({}, _noted_by_qemu(self.guest))

    def test_another_process(self) -> None:
        """A process of another boot is not the guest's, whatever its number; a transient one is gone."""
        self.begin()
        rows = self.rows()
        self.assertEqual(self.process.pid, json.loads(rows[0].process)["pid"])
        rows = [
            row._replace(process=json.dumps({"pid": os.getpid(), "start_time": 1, "boot": "x"}))
            for row in rows
        ]
        world = self.new_world(Store.open(self.path))
        self.assertEqual([], take_in(world, rows))
        self.assertEqual([], list(world.records()))
