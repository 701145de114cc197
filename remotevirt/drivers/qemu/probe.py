"""What an emulator can do, asked of itself.

The binary is started without a machine, as the user that guests run as, and asked over QMP; once with TCG,
and once more with KVM where it has that, for the CPU models that the host's own CPU can run. One probe is
under way at a time: it takes a processor for some tenths of a second, which running guests would miss.

A probe executes the binary: who calls answers for the path.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NoReturn, TypeAlias

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, ensureDeferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from remotevirt.drivers.qemu.emulator import CpuModel, Emulator, Machine
from remotevirt.drivers.qemu.monitor import Monitor, connect, qmp_class
from remotevirt.drivers.qemu.probe_memory import Known, ProbeMemory
from remotevirt.drivers.qemu.process import QemuProcess, exit_error, spawn
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, VirSystemError

__all__ = ["ARCHITECTURES", "EmulatorCache", "probe"]

PROBE_SECONDS: Final = 30.0
"""How long QEMU may take to greet, and for each answer; half a second is usual for a whole probe."""

EMULATORS_MAXIMUM: Final = 64
"""Emulators that are remembered; a host with QEMU for everything has some forty."""

KVM_DEVICE: Final = "/dev/kvm"

_NAMES: Final = {"i386": "i686", "arm": "armv7l"}
"""Architectures that QEMU and libvirt call by other names."""

_BINARIES: Final = {theirs: ours for ours, theirs in _NAMES.items()}

ARCHITECTURES: Final = (
    "aarch64",
    "alpha",
    "armv7l",
    "cris",
    "i686",
    "loongarch64",
    "m68k",
    "microblaze",
    "microblazeel",
    "mips",
    "mips64",
    "mips64el",
    "mipsel",
    "or1k",
    "ppc",
    "ppc64",
    "riscv32",
    "riscv64",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "x86_64",
    "xtensa",
    "xtensaeb",
)
"""Architectures that QEMU may have an emulator for, in libvirt's words."""

Key: TypeAlias = tuple[int, ...]

log = Logger()


async def probe(
    path: str,
    *,
    reactor: Any,
    uid: int | None = None,
    gid: int | None = None,
    groups: Sequence[int] = (),
) -> Emulator:
    """Find out what a binary can do.

    Args:
        path: of the binary.
        reactor: as for :func:`~remotevirt.drivers.qemu.process.spawn`, and IReactorUNIX.
        uid, gid, groups: whom it runs as; None for who we are.

    Raises:
        VirSystemError: it cannot be executed.
        InternalError: it is not QEMU, or does not say what it should.
        OperationTimeout: it does not answer.
    """
    user = {"uid": uid, "gid": gid, "groups": groups}
    try:
        return await _probe(path, reactor, user)
    except OSError as error:
        # Of the folder or the socket; what concerns the binary has been told apart by now.
        message = f"cannot probe QEMU binary {path}: {os.strerror(error.errno or 0)}"
        raise VirSystemError(message=message, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error


async def _probe(path: str, reactor: Any, user: Mapping[str, Any]) -> Emulator:
    """Ask with TCG, and with KVM where that works."""
    async with _running(path, "tcg", reactor, user) as monitor:
        emulator, present = await _ask(path, monitor)
    if not present:
        return emulator
    try:
        async with _running(path, "kvm", reactor, user) as monitor:
            kvm = _record(await monitor.execute("query-kvm", timeout=PROBE_SECONDS), "query-kvm")
            models = await _cpus(monitor)
    except InternalError as error:
        log.info("{path} runs without KVM: {error}", path=path, error=error.message)
        return emulator
    if kvm.get("enabled") is not True:
        return emulator
    return attrs.evolve(emulator, kvm=True, kvm_cpus=models)


@asynccontextmanager
async def _running(
    path: str, accelerator: str, reactor: Any, user: Mapping[str, Any]
) -> AsyncIterator[Monitor]:
    """A QEMU without a machine, and its monitor; both end with the block."""
    with tempfile.TemporaryDirectory(prefix="remotevirt-probe-") as directory:
        address, output = os.path.join(directory, "monitor"), os.path.join(directory, "log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(address)
            listener.listen(1)
            process = await spawn(
                _arguments(path, accelerator, listener.fileno()),
                reactor=reactor,
                environment={"LC_ALL": "C"},
                log=output,
                descriptors=[listener.fileno()],
                with_us=True,
                **user,
            )
        try:
            monitor = await _connect(path, address, output, process, reactor)
            try:
                yield monitor
                # The link may end before the answer comes.
                with suppress(VirError):
                    await monitor.execute("quit", timeout=PROBE_SECONDS)
            finally:
                monitor.close()
        finally:
            await process.kill()


def _arguments(path: str, accelerator: str, listener: int) -> list[str]:
    """The command line of a QEMU that waits to be asked."""
    return [
        path,
        *("-S", "-no-user-config", "-nodefaults", "-nographic", "-display", "none"),
        *("-machine", "none", "-accel", accelerator),
        *("-chardev", f"socket,id=monitor,fd={listener},server=on,wait=off"),
        *("-mon", "chardev=monitor,mode=control"),
    ]


async def _connect(path: str, address: str, output: str, process: QemuProcess, reactor: Any) -> Monitor:
    """The monitor of a QEMU that is starting; if it ends instead, what it said is the error."""
    try:
        return await connect(reactor, address, timeout=PROBE_SECONDS)
    except (InternalError, VirSystemError) as error:
        await process.kill()
        raise exit_error(output, what=f"Failed to start QEMU binary {path} for probing") from error


async def _ask(path: str, monitor: Monitor) -> tuple[Emulator, bool]:
    """What a QEMU with TCG says of itself, and whether it was built with KVM."""

    async def records(command: str, **arguments: object) -> list[Mapping[str, Any]]:
        answer = await monitor.execute(command, arguments, timeout=PROBE_SECONDS)
        if not isinstance(answer, list):
            _complain(command)
        return [_record(item, command) for item in answer]

    async def record(command: str) -> Mapping[str, Any]:
        return _record(await monitor.execute(command, timeout=PROBE_SECONDS), command)

    version = await record("query-version")
    numbers = _record(version.get("qemu"), "query-version")
    arch = _text(await record("query-target"), "arch", "query-target")
    machines, default = _machines(await records("query-machines"))
    devices = await records("qom-list-types", implements="device", abstract=False)
    objects = await records("qom-list-types", implements="user-creatable", abstract=False)
    emulator = Emulator(
        path=path,
        arch=_NAMES.get(arch, arch),
        version=(
            _number(numbers, "major", "query-version"),
            _number(numbers, "minor", "query-version"),
            _number(numbers, "micro", "query-version"),
        ),
        package=_text(version, "package", "query-version"),
        machines=machines,
        default_machine=default,
        devices=frozenset(_text(one, "name", "qom-list-types") for one in devices),
        objects=frozenset(_text(one, "name", "qom-list-types") for one in objects),
        cpus=await _cpus(monitor),
    )
    return emulator, (await record("query-kvm")).get("present") is True


def _machines(records: list[Mapping[str, Any]]) -> tuple[dict[str, Machine], str | None]:
    """Machine types by their names, and the name of the default one."""
    machines: dict[str, Machine] = {}
    default = None
    for record in records:
        machine = Machine(
            name=_text(record, "name", "query-machines"),
            alias=_maybe_text(record, "alias"),
            max_cpus=_number(record, "cpu-max", "query-machines"),
            default_cpu=_maybe_text(record, "default-cpu-type"),
            default_memory=_maybe_text(record, "default-ram-id"),
            hotpluggable_cpus=record.get("hotpluggable-cpus") is True,
            deprecated=record.get("deprecated") is True,
        )
        machines[machine.name] = machine
        if record.get("is-default") is True:
            default = machine.name
    return machines, default


async def _cpus(monitor: Monitor) -> dict[str, CpuModel]:
    """The CPU models; none for architectures of which QEMU tells none."""
    command = "query-cpu-definitions"
    try:
        answer = await monitor.execute(command, timeout=PROBE_SECONDS)
    except InternalError as error:
        if qmp_class(error) == "CommandNotFound":
            return {}
        raise
    if not isinstance(answer, list):
        _complain(command)
    models = {}
    for item in answer:
        record = _record(item, command)
        blockers = record.get("unavailable-features")
        if blockers is not None and not (
            isinstance(blockers, list) and all(isinstance(one, str) for one in blockers)
        ):
            _complain(command)
        name = _text(record, "name", command)
        models[name] = CpuModel(
            name=name,
            blockers=None if blockers is None else tuple(blockers),
            deprecated=record.get("deprecated") is True,
        )
    return models


def _record(value: Any, command: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _complain(command)
    return value


def _text(record: Mapping[str, Any], key: str, command: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        _complain(command)
    return value


def _maybe_text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None


def _number(record: Mapping[str, Any], key: str, command: str) -> int:
    value = record.get(key)
    if type(value) is not int:
        _complain(command)
    return value


def _complain(command: str) -> NoReturn:
    raise InternalError(f"unexpected answer of QEMU to '{command}'", domain=c.VIR_FROM_QEMU)


class EmulatorCache:
    """What the emulators of this host can do; one for all of a daemon.

    A binary is probed again when it has changed, or ``/dev/kvm`` has. Failures are not remembered.

    Args:
        reactor, uid, gid, groups: see :func:`probe`.
        directories: where :meth:`find` looks; None for the daemon's own search path.
        ask: does the probing, called as :func:`probe` is.
        memory: keeps what was found out for the next daemon; None for nothing.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        uid: int | None = None,
        gid: int | None = None,
        groups: Sequence[int] = (),
        directories: Sequence[str] | None = None,
        ask: Any = probe,
        memory: ProbeMemory | None = None,
    ) -> None:
        self._reactor = reactor
        self._uid = uid
        self._user: dict[str, Any] = {"uid": uid, "gid": gid, "groups": groups}
        self._directories = None if directories is None else os.pathsep.join(directories)
        self._ask = ask
        self._turn = DeferredLock()
        self._memory = memory
        self._known: Known = {} if memory is None else memory.load()
        self._waiting: dict[tuple[str, Key], list[Deferred[Emulator]]] = {}
        self._probes: set[Deferred[Emulator]] = set()

    async def get(self, path: str) -> Emulator:
        """Return what a binary can do.

        Raises:
            VirError: as :func:`probe`; VirSystemError if there is no such file.
        """
        key = (*_key(path), self._uid or 0)
        known = self._known.get(path)
        if known is not None and known[0] == key:
            return known[1]
        waiting = self._waiting.get((path, key))
        is_first = waiting is None
        if waiting is None:
            waiting = self._waiting[path, key] = []
        answer: Deferred[Emulator] = Deferred(waiting.remove)
        waiting.append(answer)
        if is_first:
            started = self._turn.run(self._probe, path, key)
            self._probes.add(started)
            started.addBoth(self._tell, path, key, started)
        return await answer

    async def find(self, arch: str) -> Emulator | None:
        """Return the emulator of an architecture, by libvirt's name; None if there is none."""
        path = shutil.which(f"qemu-system-{_BINARIES.get(arch, arch)}", path=self._directories)
        return None if path is None else await self.get(path)

    async def all(self) -> list[Emulator]:
        """Return all that can be found and probed, by architecture; what cannot be is logged."""
        found = []
        for arch in ARCHITECTURES:
            try:
                emulator = await self.find(arch)
            except VirError as error:
                log.warn("No emulator for {arch}: {error}", arch=arch, error=error.message)
                continue
            if emulator is not None:
                found.append(emulator)
        return found

    def close(self) -> None:
        """End what is under way; who waits for it fails."""
        for started in tuple(self._probes):
            started.cancel()

    def _probe(self, path: str, key: Key) -> Deferred[Emulator]:
        """Ask a binary, unless nobody waits for it any more."""
        if not self._waiting[path, key]:
            return fail(CancelledError())
        return ensureDeferred(self._ask(path, reactor=self._reactor, **self._user))

    def _tell(self, result: Emulator | Failure, path: str, key: Key, started: Deferred[Any]) -> None:
        """Remember an answer, and give it to all who wait."""
        self._probes.discard(started)
        waiting = self._waiting.pop((path, key))
        if isinstance(result, Emulator):
            self._known.pop(path, None)
            self._known[path] = key, result
            if len(self._known) > EMULATORS_MAXIMUM:
                del self._known[next(iter(self._known))]
            if self._memory is not None:
                self._memory.save(self._known)
        for one in waiting:
            one.callback(result)


def _key(path: str) -> Key:
    """What changes when a binary does, or the right to use KVM."""
    try:
        file = os.stat(path)
    except OSError as error:
        message = f"Cannot check QEMU binary {path}: {error.strerror}"
        raise VirSystemError(message=message, domain=c.VIR_FROM_QEMU, int1=error.errno or 0) from error
    marks: Key = (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns)
    try:
        kvm = os.stat(KVM_DEVICE)
    except OSError:
        return marks
    return (*marks, kvm.st_rdev, kvm.st_mode, kvm.st_uid, kvm.st_gid)
