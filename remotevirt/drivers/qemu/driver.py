"""QEMU as a driver: one world of guests for all connections.

``qemu:///system``, ``qemu:///session``
    both mean the guests of this daemon; what they may do depends on who the daemon is.

The folder for what must outlive the daemon::

    STATE/qemu/domains.db       the domains, and which of them run
    STATE/qemu/emulators.json   what the emulators can do, as they said when they were asked
    STATE/qemu/run/UUID/        one guest's sockets and secrets, while it runs
    STATE/qemu/monitor/         the sockets of their monitors, for the daemon only
    STATE/qemu/left-groups/     control groups of guests that have ended, until they are removed
    STATE/qemu/{channel,log,nvram,save}/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI, IDriver
from remotevirt.drivers.domains.loading import load_domains
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.qemu.control_groups.finding import Groups
from remotevirt.drivers.qemu.cpu_plugging import part_gone
from remotevirt.drivers.qemu.documents import definitions_for
from remotevirt.drivers.qemu.dumping import dump_panicked
from remotevirt.drivers.qemu.guest import Owner
from remotevirt.drivers.qemu.handing import pay_back
from remotevirt.drivers.qemu.hypervisor import QemuHypervisor
from remotevirt.drivers.qemu.keeping import QemuKeeper
from remotevirt.drivers.qemu.logs import Logs, log_path
from remotevirt.drivers.qemu.place import Place
from remotevirt.drivers.qemu.probe import EmulatorCache
from remotevirt.drivers.qemu.probe_memory import ProbeMemory
from remotevirt.drivers.qemu.record import QemuRecord
from remotevirt.drivers.qemu.reviving import find_volumes, reattach, sweep, take_in
from remotevirt.drivers.qemu.saving import restore_managed
from remotevirt.drivers.qemu.settings import NO_GROUPS, Settings
from remotevirt.drivers.qemu.starting import BOOT, start
from remotevirt.drivers.qemu.world import QemuWorld
from remotevirt.errors import VirError
from remotevirt.store import GuestRow, OwnerRow, Store, StoreError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, NoConnect, OperationFailed

__all__ = ["QemuDriver"]

log = Logger()

AUTOSTARTS: Final = 8
"""Guests that start with the host at a time; one on a disk that hangs takes a place for half a minute."""

PATHS = ("/system", "/session")
"""What a URI may name."""


@implementer(IDriver)
class QemuDriver:
    """Real guests, each a QEMU process.

    Args:
        state: the folder for what must outlive the daemon (``qemu:state=DIR``, or the daemon's ``--state``).
        user: who guests run as, where the daemon is root (``qemu:user=NAME``).
        images: folders below which the files of guests must lie, separated by commas; anywhere if None.
        monitor_timeout: seconds that QEMU has to answer (``qemu:monitor-timeout=30``).
        cgroups: the control group that those of guests are below (``qemu:cgroups=/PATH``), ``off`` for none.

    Raises:
        ValueError: an option makes no sense.
    """

    name = "qemu"
    schemes = ("qemu",)
    default_uri = "qemu:///system"

    def __init__(
        self,
        state: str | bool | None = None,
        user: str | bool | None = None,
        images: str | bool | None = None,
        monitor_timeout: str | bool | None = None,
        cgroups: str | bool | None = None,
    ) -> None:
        if not isinstance(state, str):
            raise ValueError("what runs must be remembered: give the daemon a folder with --state DIR")
        if isinstance(user, bool):
            raise ValueError("user needs a name: user=NAME")
        if isinstance(images, bool):
            raise ValueError("images needs folders: images=DIR,DIR")
        if isinstance(monitor_timeout, bool):
            raise ValueError("monitor-timeout needs seconds: monitor-timeout=30")
        if isinstance(cgroups, bool):
            raise ValueError("cgroups needs a path, or off: cgroups=PATH")
        self.settings = Settings.make(state, user, images, monitor_timeout, cgroups)
        self.world: QemuWorld | None = None
        self.place: Place | None = None
        self._failed: VirError | None = None
        self._logs: Logs | None = None
        self._later: Deferred[Any] | None = None
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Be told that the daemon starts: find the guests that run."""
        from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

        self.begin(reactor)

    def begin(self, reactor: Any) -> Deferred[None]:
        """Open the store, find what runs, start what starts with the host.

        Returns:
            Fires when clients can be served, whether all that went well or not.
        """
        return Deferred.fromCoroutine(self._begin(reactor))

    async def _begin(self, reactor: Any) -> None:
        try:
            await self._open(reactor)
        except (StoreError, OSError) as error:
            why = str(error)
            if isinstance(error, OSError) and error.filename is not None:
                why = f"{error.filename}: {error.strerror}"
            log.critical("the QEMU driver cannot open its store: {why}", why=why)
            self._failed = OperationFailed(f"the QEMU driver has no store: {why}", domain=c.VIR_FROM_QEMU)
        except Exception:
            log.failure("the QEMU driver does not start")
            self._failed = InternalError("the QEMU driver did not start", domain=c.VIR_FROM_QEMU)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def _open(self, reactor: Any) -> None:
        settings = self.settings
        settings.state.mkdir(mode=0o711, exist_ok=True)
        user = settings.user
        emulators = EmulatorCache(
            reactor,
            uid=None if user is None else user.uid,
            gid=None if user is None else user.gid,
            groups=() if user is None else user.groups,
            memory=ProbeMemory(settings.state / "emulators.json"),
        )
        found_emulators = await emulators.all()
        if not found_emulators:
            log.warn("no guest can run, as there is no QEMU (Debian: qemu-system-x86) that answers")
        definitions = definitions_for(found_emulators, nvram_directory=str(settings.nvram))
        world = QemuWorld(settings, definitions, emulators, reactor)
        path = str(settings.state / "domains.db")
        store = Store.open(path) if Store.exists(path) else Store.create(path, [])
        base = None if settings.cgroups == NO_GROUPS else settings.cgroups
        world.groups = Groups.of_host(base, enabled=settings.cgroups != NO_GROUPS)
        load_domains(world, store.rows, _attempt)
        rows = store.rows.get(GuestRow, [])
        world.owed = {row.path: Owner(row.path, row.uid, row.gid) for row in store.rows.get(OwnerRow, [])}
        store.rows = {}
        world.journal = Journal(store, world.hub, c.VIR_FROM_QEMU)
        world.keeper = QemuKeeper(world, world.journal)
        self.place = place = Place.open(settings, world.hub)
        world.firmware = place.about.firmware
        world.secret_value = place.secret_value
        world.storage = place.storage
        world.device_gone = part_gone
        world.dump_panicked = dump_panicked
        found = take_in(world, rows)
        pay_back(world, list(world.owed.values()))
        talking = reattach(world, found)
        await sweep(world)
        await place.storage.start()
        find_volumes(world)
        self._logs = Logs(
            reactor,
            settings.log,
            lambda: [log_path(settings, guest.record.name) for guest in world.guests()],
        )
        self._logs.start()
        self.world = world
        self._later = Deferred.fromCoroutine(self._go_on(world, talking))
        self._later.addErrback(_not_cancelled)

    async def _go_on(self, world: QemuWorld, talking: Deferred[Any]) -> None:
        """Do what clients need not wait for."""
        await self._autostart(world)
        await talking

    async def _autostart(self, world: QemuWorld) -> None:
        """Start what starts with the host, once each time that the host has been started."""
        mark = self.settings.state / "booted"
        boot = _boot_id()
        try:
            if mark.read_text() == boot:
                return
        except (OSError, ValueError):
            pass  # nothing was started yet
        turns = DeferredSemaphore(AUTOSTARTS)
        records = [record for record in world.records() if record.autostart and not record.active]
        starting = [turns.run(_start_with_host, world, record) for record in records]
        await DeferredList(starting, consumeErrors=True)
        mark.write_text(boot)

    def stop(self) -> None:
        """Be told that the daemon ends: let go of the guests, which go on."""
        world, self.world = self.world, None
        if self._logs is not None:
            self._logs.stop()
        if world is None:
            return
        world.open = False
        if self._later is not None:
            self._later.cancel()
        for guest in world.guests():
            if guest.monitor is not None:
                guest.monitor.close()
            if guest.process is not None:
                guest.process.forget()
        if world.journal is not None:
            world.journal.store.close()
        if self.place is not None:
            self.place.close()

    async def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open a connection.

        Raises:
            NoConnect, InternalError: the URI means no guests of ours.
            OperationFailed: the store cannot be used.
        """
        if not uri.path or uri.path == "/":
            raise InternalError("no QEMU URI path given, try qemu:///system", domain=c.VIR_FROM_QEMU)
        if uri.path not in PATHS:
            text = f"unexpected QEMU URI path '{uri.path}', try qemu:///system"
            raise InternalError(text, domain=c.VIR_FROM_QEMU)
        if self.world is None and self._failed is None:
            opened: Deferred[None] = Deferred()
            self._waiting.append(opened)
            await opened
        if self._failed is not None:
            raise self._failed
        world = self.world
        place = self.place
        if world is None or place is None:
            raise NoConnect("the daemon is ending", domain=c.VIR_FROM_QEMU)
        closing = _Closing()
        hypervisor = QemuHypervisor(world, uri.text, closing)
        hypervisor.host, hypervisor.about = place.host, place.about
        hypervisor.emulators = world.emulators
        if world.journal is not None:
            world.journal.guard(hypervisor)
        return DriverConnection(
            uri=uri.text,
            hypervisor=hypervisor,
            storage=place.storage,
            interface=place.interfaces,
            nodedev=place.devices,
            secret=place.secrets,
            events=world.hub,
            on_close=closing.closed,
        )


def _start_with_host(world: QemuWorld, record: QemuRecord) -> Deferred[None]:
    """Start a domain by itself; what fails is logged."""

    async def work() -> None:
        try:
            async with record.job.turn("autostart", world.reactor, world.settings.job_timeout):
                if record.active or world.by_uuid.get(record.uuid) is not record:
                    return  # a client was faster
                if record.managed_save:
                    await restore_managed(world, record, paused=False, autodestroy=False)
                else:
                    await start(world, record, BOOT)
        except VirError as error:
            log.error("domain {name!r} does not start: {error}", name=record.name, error=error)
        except CancelledError:
            raise
        except Exception:
            log.failure("domain {name!r} does not start", name=record.name)

    return Deferred.fromCoroutine(work())


class _Closing:
    """What is to be done when a client goes."""

    def __init__(self) -> None:
        self._actions: dict[object, Callable[[], Any]] = {}

    def at_close(self, action: Callable[[], Any]) -> Callable[[], None]:
        """Have something done, a function or coroutine; return what makes that undone."""
        token = object()
        self._actions[token] = action
        return lambda: self._actions.pop(token, None) and None

    def closed(self) -> None:
        """Do it."""
        actions, self._actions = list(self._actions.values()), {}
        for action in actions:
            work = action()
            if work is not None:
                Deferred.fromCoroutine(work).addErrback(
                    lambda failure: log.failure("when a client went", failure=failure)
                )


def _not_cancelled(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("what begins with the daemon did not go well", failure=failure)


def _attempt(row: Any, make: Callable[[Any], Any]) -> Any:
    """Return what a row makes, or None where that fails."""
    try:
        return make(row)
    except VirError as error:
        log.error("{kind} {name!r} is not served: {error}", kind=row.TABLE, name=row.name, error=error)
        return None


def _boot_id() -> str:
    """Return what changes with each start of the host."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read(64).strip()
