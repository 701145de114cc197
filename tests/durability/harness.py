"""The rounds: load, kill, restart, compare.

A round's moment of death is one of :data:`MOMENTS`, and where exactly is drawn from the seed. What a watcher
has seen of a call before its acknowledgement (by reading, or as an event) has to survive as well.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from remotevirt.stubs import constants as c
from remotevirt.stubs import remote
from remotevirt.stubs.remote.event import DomainEventLifecycleMsg
from tests.durability.nursery import ForkedRemotevirt, Nursery
from tests.durability.objects import ABSENT, QEMU, TEST, Kind, Operation, State, Torn, call, look, operations
from tests.interop.daemons import Remotevirt
from tests.wire import Closed, WireClient

__all__ = ["MOMENTS", "Figures", "Harness"]

MOMENTS: Final = ("loaded", "compacting", "idle", "starting")

WRITERS: Final = 4
OBJECTS: Final = 3
"""Domains of each writer."""

LOADED: Final = (0.02, 0.5)
"""Seconds of load before the kill, at least and at most."""

STARTING: Final = 0.4
"""Seconds within which a daemon that is starting is killed, at most."""

DRIVERS: Final = {
    TEST: ("test", "tests.durability.drivers:CompactingDriver"),
    QEMU: ("qemu", "tests.durability.drivers:CompactingQemuDriver"),
}
"""The driver, and one that empties its log all the time."""

LIFECYCLE_MESSAGE: Final = remote.PROGRAM.by_name["domain_event_lifecycle"].number


@attrs.define
class Figures:
    """What came out."""

    rounds: int = 0
    acked: int = 0
    lost: int = 0
    torn: int = 0
    resurrected: int = 0
    seen: int = 0
    slowest: float = 0.0
    findings: list[str] = attrs.field(factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, torn or resurrected."""
        return not (self.lost or self.torn or self.resurrected)

    def __str__(self) -> str:
        return (
            f"durability: rounds={self.rounds} acked={self.acked} lost={self.lost} torn={self.torn} "
            f"resurrected={self.resurrected}"
        )


class Writer:
    """Changes its domains one call at a time, and logs each call before and after."""

    def __init__(self, number: int, folder: Path, kind: Kind) -> None:
        self.kind = kind
        self.names = [f"w{number}-{which}" for which in range(OBJECTS)]
        self.acked: dict[str, State] = dict.fromkeys(self.names, ABSENT)
        self.pending: Operation | None = None
        self.generation = 0
        self.count = 0
        self.refused: list[str] = []
        self.events: dict[str, int] = {}
        """How many calls of this round that were acknowledged say an event of their domain."""
        self._log = os.open(folder / f"writer-{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def close(self) -> None:
        """Close the log."""
        os.close(self._log)

    def _note(self, **words: object) -> None:
        os.write(self._log, json.dumps(words).encode() + b"\n")
        os.fsync(self._log)

    def work(self, path: str, chance: random.Random, enough: Callable[[], bool]) -> None:
        """Change domains until that is enough, or the daemon is gone."""
        try:
            with WireClient(path) as client:
                client.open(self.kind.uri)
                while not enough():
                    self._step(client, chance)
        except (Closed, OSError):
            return

    def _step(self, client: WireClient, chance: random.Random) -> None:
        name = chance.choice(self.names)
        self.generation += 1
        operation = operations(self.kind, chance, name, self.acked[name], self.generation)
        self._note(intent=operation.procedure, name=name, to=operation.state)
        if operation.state == ABSENT:
            # autostart may have started it; undefined while it runs it would stay until the daemon ends
            call(client, "domain_destroy", operation.arguments[0])
        self.pending = operation
        reply = call(client, operation.procedure, *operation.arguments)
        if reply.status:
            self.refused.append(f"{operation.procedure} of {name} in {self.acked[name]}: {reply.payload!r}")
            self.pending = None
            return
        self._note(acked=operation.procedure, name=name)
        self.count += 1
        self.acked[name], self.pending = operation.state, None
        if operation.procedure in ("domain_define_xml", "domain_undefine_flags"):
            self.events[name] = self.events.get(name, 0) + 1


class Watcher:
    """Reads domains and hears events, as other clients would."""

    def __init__(self, names: list[str], kind: Kind) -> None:
        self.kind = kind
        self.names = names
        self.seen: dict[str, int] = {}
        self.torn: list[str] = []
        self.events: dict[str, int] = {}

    def work(self, path: str, chance: random.Random, enough: Callable[[], bool]) -> None:
        """Watch until that is enough, or the daemon is gone."""
        try:
            with WireClient(path) as client:
                client.open(self.kind.uri)
                call(client, "connect_domain_event_register")
                while not enough():
                    self._look(client, chance.choice(self.names))
                    self._take(client)
        except (Closed, OSError):
            self._take(client)

    def _look(self, client: WireClient, name: str) -> None:
        try:
            found = look(self.kind, client, name)
        except Torn as error:
            self.torn.append(f"{name}: {error}")
            return
        if found.generation:
            self.seen[name] = found.generation

    def _take(self, client: WireClient) -> None:
        for frame in client.events:
            if frame.procedure == LIFECYCLE_MESSAGE:
                msg, _ = DomainEventLifecycleMsg.unpack(frame.payload, 0)
                if msg.event in (c.VIR_DOMAIN_EVENT_DEFINED, c.VIR_DOMAIN_EVENT_UNDEFINED):
                    self.events[msg.dom.name] = self.events.get(msg.dom.name, 0) + 1
        client.events.clear()


class Harness:
    """All rounds on one state folder.

    Args:
        seed: what is drawn, is drawn from it.
        driver: instead of the drivers that the moments want.
        kind: whose domains; those of QEMU are defined, and not started.
    """

    def __init__(self, seed: int, driver: str | None = None, kind: Kind = TEST) -> None:
        self.kind = kind
        self.seed = seed
        self.driver = driver
        self.figures = Figures()
        self.folder = Path(tempfile.mkdtemp(prefix="durability-"))
        self.folder.chmod(0o711)
        self.state = self.folder / "state"
        self.state.mkdir(mode=0o711)
        self.writers = [Writer(number, self.folder, self.kind) for number in range(WRITERS)]
        self.nursery = Nursery()
        self.names = [name for writer in self.writers for name in writer.names]

    def close(self) -> None:
        """Remove everything."""
        for writer in self.writers:
            writer.close()
        self.nursery.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, rounds: int, said: Callable[[str], object] = lambda text: None) -> Figures:
        """Run rounds; ``said`` is told of each finding."""
        daemon = self._start(MOMENTS[0])
        self.figures.slowest = 0.0  # it waited for the nursery, and is no restart
        try:
            for number in range(rounds):
                chance = random.Random(f"{self.seed}-{number}")
                moment = MOMENTS[number % len(MOMENTS)]
                watcher = self._load(daemon, moment, chance)
                daemon.stop()
                upcoming = MOMENTS[(number + 1) % len(MOMENTS)]
                if moment == "starting":
                    self._kill_starting(chance)
                daemon = self._start(upcoming)
                before = len(self.figures.findings)
                self._compare(daemon, watcher, f"round {number} ({moment})")
                self.figures.rounds += 1
                for finding in self.figures.findings[before:]:
                    said(finding)
        finally:
            daemon.stop()
        self.figures.acked = sum(writer.count for writer in self.writers)
        return self.figures

    def _daemon(self, moment: str) -> Remotevirt:
        driver = self.driver or DRIVERS[self.kind][moment == "compacting"]
        return ForkedRemotevirt(self.nursery, driver=driver, options=["--state", str(self.state)])

    def _start(self, moment: str) -> Remotevirt:
        """Start a daemon, and note how long it took until a client had the world."""
        daemon = self._daemon(moment)
        began = time.monotonic()
        daemon.start()
        with WireClient(str(daemon.unix)) as client:
            client.open(self.kind.uri)
        self.figures.slowest = max(self.figures.slowest, time.monotonic() - began)
        return daemon

    def _kill_starting(self, chance: random.Random) -> None:
        """Start a daemon, and kill it on the way."""
        daemon = self._daemon("starting")
        daemon.launch()
        threading.Event().wait(chance.uniform(0, STARTING))
        daemon.kill()
        daemon.stop()

    def _load(self, daemon: Remotevirt, moment: str, chance: random.Random) -> Watcher:
        """Let the writers write and the watcher watch, and kill the daemon."""
        over = threading.Event()
        watcher = Watcher(self.names, self.kind)
        path = str(daemon.unix)
        threads = []
        for worker in (*self.writers, watcher):
            own = random.Random(chance.random())
            threads.append(threading.Thread(target=worker.work, args=(path, own, over.is_set)))
        for writer in self.writers:
            writer.events.clear()
        for thread in threads:
            thread.start()
        over.wait(chance.uniform(*LOADED))
        if moment == "idle":
            over.set()
            for thread in threads:
                thread.join()
        daemon.kill()
        over.set()
        for thread in threads:
            thread.join()
        return watcher

    def _compare(self, daemon: Remotevirt, watcher: Watcher, where: str) -> None:
        """Compare every domain with what the logs say."""
        for text in watcher.torn:
            self._find("torn", f"{where}: read under load: {text}")
        with WireClient(str(daemon.unix)) as client:
            client.open(self.kind.uri)
            for writer in self.writers:
                while writer.refused:
                    self._find("lost", f"{where}: the daemon does not know of {writer.refused.pop()}")
                pending, writer.pending = writer.pending, None
                for name in writer.names:
                    later = pending if pending is not None and pending.name == name else None
                    try:
                        found = look(self.kind, client, name)
                    except Torn as error:
                        self._find("torn", f"{where}: {name}: {error}")
                        found = writer.acked[name]
                    else:
                        self._judge(writer, watcher, name, later, found, where)
                    writer.acked[name] = found

    def _judge(
        self, writer: Writer, watcher: Watcher, name: str, later: Operation | None, found: State, where: str
    ) -> None:
        """Say what is wrong with a domain."""
        acked = writer.acked[name]
        allowed = [acked] if later is None else [acked, later.state]
        text = f"{where}: {name}: acknowledged {acked}, in flight {later and later.state}, found {found}"
        if found not in allowed:
            if not acked.generation and found.generation:
                self._find("resurrected", text)
            elif found.generation < acked.generation or later is None:
                self._find("lost", text)
            else:
                self._find("torn", text)
            return
        if later is None or found == later.state:
            return
        # the call in flight did not survive: then nobody may have seen it
        self.figures.seen += 1
        if watcher.seen.get(name, 0) >= later.state.generation > acked.generation:
            self._find("lost", f"{text}, and it was read")
        elif watcher.events.get(name, 0) > writer.events.get(name, 0):
            self._find("lost", f"{text}, and an event told of it")

    def _find(self, kind: str, text: str) -> None:
        setattr(self.figures, kind, getattr(self.figures, kind) + 1)
        self.figures.findings.append(f"{kind}: {text}")
