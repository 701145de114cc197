"""A running guest: the process, the line to it, and what is remembered of it until it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred

from remotevirt.drivers.qemu.control_groups.group import ControlGroup
from remotevirt.drivers.qemu.monitor import Monitor
from remotevirt.drivers.qemu.process import QemuProcess
from remotevirt.drivers.qemu.progress import Progress
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import OperationFailed, OperationInvalid

if TYPE_CHECKING:
    from remotevirt.drivers.qemu.record import QemuRecord
    from remotevirt.drivers.qemu.world import QemuWorld

__all__ = ["AskedCpu", "Details", "Guest", "Output", "Owner", "Undo"]


Undo = tuple[str, dict[str, Any]]
"""A command of QMP that undoes something, and its arguments; from a store it comes as a list."""


@attrs.frozen
class Owner:
    """Who had a file before it was given to a guest: numbers of user and group."""

    path: str
    uid: int
    gid: int


@attrs.frozen
class Output:
    """A file that is being written: its path, and which file that is, 0 and 0 while that is not known."""

    path: str
    device: int
    inode: int


@attrs.frozen
class AskedCpu:
    """What a definition asks for of a CPU of its own: how it is checked, and features with their policies."""

    check: str | None
    features: list[tuple[str, str]]


@attrs.define
class Details:
    """What must be known of a running guest after a restart of the daemon; kept with its row.

    Attributes:
        owners: the files that were given to the guest, and who had them.
        reboot: its next power-off is a reboot that was asked for.
        ports: the TCP ports of its displays.
        taints: what it is marked with; see :mod:`remotevirt.drivers.qemu.messages`.
        unplugging: the aliases of devices that it was asked to let go of, and has not yet.
        images: the highest number that an image was given; block nodes are called by these.
        making: what undoes the change of devices that a call is about, in order of making.
        leftover: what is behind devices that no definition has, and that the guest has not let go of: by
            their ids, what takes it away.
        links: where paths of files lead that were given to the guest, if that is elsewhere.
        output: the file that a call writes its memory into; None while none does.
        autodestroy: it ends with the connection that has started it.
        group: the path of its control groups; empty for none.
        cpu: the CPU that was asked for; None if it has just that, or one that nobody looks into.
    """

    owners: list[Owner] = attrs.field(factory=list)
    reboot: bool = False
    ports: list[int] = attrs.field(factory=list)
    taints: list[str] = attrs.field(factory=list)
    unplugging: list[str] = attrs.field(factory=list)
    images: int = 0
    making: list[Undo] = attrs.field(factory=list)
    leftover: dict[str, list[Undo]] = attrs.field(factory=dict)
    links: dict[str, str] = attrs.field(factory=dict)
    output: Output | None = None
    autodestroy: bool = False
    group: str = ""
    cpu: AskedCpu | None = None


class Guest:
    """A QEMU and how to talk to it.

    Attributes:
        record: the domain.
        folder: its own folder.
        process, monitor: None until they are there.
        details: see there; whoever changes them commits (:meth:`remember`).
        ending: (reason, detail) of a stop that was asked for or announced; None while it just runs.
        powered_off: QEMU has said that the guest is off.
        restarting: it is off, and about to be started anew in the same QEMU.
        dumping: its memory is being kept because its watchdog has bitten.
        started: it has begun to run, or to be paused: that was told, and its end will be.
        group: its control groups, None for none.
        threads: of its virtual processors, by their index.
        pausing, resuming: why it will be said to be paused or to run when QEMU tells so: reason and detail.
        waiting: who waits for an event of a device: by event and device id.
        console: who holds its lines (LineHolders), None before anybody has.
        progress: of its memory, while that flows into a file or out of one.
        over: who waits until the domain has let go of it.
        settled: fires when it has left nothing behind; None while it is there.
    """

    def __init__(self, world: QemuWorld, record: QemuRecord, folder: Path, details: Details) -> None:
        self.world = world
        self.record = record
        self.folder = folder
        self.details = details
        self.process: QemuProcess | None = None
        self.monitor: Monitor | None = None
        self.ending: tuple[int, int] | None = None
        self.powered_off = False
        self.started = False
        self.restarting = False
        self.dumping = False
        self.group: ControlGroup | None = None
        self.threads: dict[int, int] = {}
        self.stamp = object()
        self.waiting: dict[tuple[str, str], list[Deferred[None]]] = {}
        self.pausing: tuple[int, int] | None = None
        self.resuming: tuple[int, int] | None = None
        self.console: Any = None
        self.progress: Progress | None = None
        self.over: list[Deferred[None]] = []
        self.settled: Deferred[Any] | None = None

    @property
    def socket(self) -> Path:
        """Where its monitor listens: not in its folder, so that it cannot lead to another one."""
        return self.world.settings.monitor / f"{self.folder.name}.sock"

    def remember(self) -> None:
        """Note that ``details`` have changed; inside of a commit."""
        self.world.touch(self.record)
        self.stamp = object()

    async def execute(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        *,
        files: Sequence[int] = (),
        timeout: float | None = None,
    ) -> Any:
        """Ask QEMU.

        Args:
            command: of QMP.
            arguments: its arguments.
            files: descriptors that go with it.
            timeout: seconds; None for the operator's setting.

        Raises:
            OperationInvalid: it has no QEMU any more.
            OperationTimeout: QEMU did not answer in time.
            InternalError: QEMU refused.
        """
        monitor = self.monitor
        if monitor is None:
            raise OperationInvalid("domain is not running", domain=c.VIR_FROM_QEMU)
        limit = self.world.settings.monitor_timeout if timeout is None else timeout
        return await monitor.execute(command, arguments, files=files, timeout=limit)

    def happened(self, event: str, device: str) -> bool:
        """Let go on who waits for an event of a device; return whether anybody did."""
        waiters = self.waiting.pop((event, device), [])
        for waiter in waiters:
            waiter.callback(None)
        return bool(waiters)

    def wait_for(self, event: str, device: str) -> Deferred[None]:
        """Return what fires at the next such event; it fails when the guest ends. May be cancelled."""
        waiter: Deferred[None] = Deferred(lambda _: waiters.remove(waiter) if waiter in waiters else None)
        waiters = self.waiting.setdefault((event, device), [])
        waiters.append(waiter)
        return waiter

    def check_alive(self) -> None:
        """Raise OperationFailed if the guest went away while a call waited."""
        self.check_wanted()
        if self.monitor is None:
            raise OperationFailed("domain is no longer running", domain=c.VIR_FROM_QEMU)

    def check_wanted(self) -> None:
        """Raise OperationFailed if the guest is ending, or has ended."""
        if self.record.guest is not self or self.ending is not None:
            raise OperationFailed("domain is no longer running", domain=c.VIR_FROM_QEMU)
