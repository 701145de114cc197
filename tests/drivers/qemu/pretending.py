"""A QEMU that does what a test wants, and what else a driver needs around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from remotevirt.drivers.qemu.emulator import Emulator
from remotevirt.drivers.qemu.qmp import QmpError
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InternalError, OperationFailed

__all__ = ["Client", "Emulators", "FakeMonitor", "refusal"]

Answer = Callable[[Mapping[str, Any]], Any]


class FakeMonitor:
    """A QEMU: what it was asked, and what it answers; an exception is raised."""

    wedged = False

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.react: dict[str, Answer] = {}
        self.silent: dict[str, Deferred[Any]] = {}
        """Commands that are answered later."""
        self.last = 0
        """How many commands there are before the guest ends, 0 for any number."""
        self.at_last: Callable[[], None] = lambda: None

    def execute(
        self, command: str, arguments: Any = None, *, timeout: float | None = None, files: Any = ()
    ) -> Deferred[Any]:
        """Answer a command."""
        self.asked.append((command, dict(arguments or {})))
        if len(self.asked) == self.last:
            self.at_last()
            return fail(OperationFailed("QEMU monitor was closed", domain=c.VIR_FROM_QEMU))
        if command in self.silent:
            return self.silent[command]
        answer = self.answers.get(command, {})
        if isinstance(answer, Exception):
            return fail(answer)
        try:
            if command in self.react:
                self.react[command](arguments or {})
        except VirError as error:
            return fail(error)
        return succeed(answer)

    def close(self) -> None:
        """Do nothing."""

    @property
    def commands(self) -> list[str]:
        """The names of the commands so far."""
        return [command for command, _ in self.asked]


class Emulators:
    """Knows one emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    async def get(self, path: str) -> Emulator:
        """Return it."""
        return self.emulator


class Client:
    """A client that stays."""

    def at_close(self, action: Callable[[], Any]) -> Callable[[], None]:
        """Remember nothing."""
        return lambda: None


def refusal(klass: str = "GenericError") -> InternalError:
    """QEMU's refusal of anything."""
    error = InternalError("QEMU says no", domain=c.VIR_FROM_QEMU)
    error.__cause__ = QmpError(klass, "no")
    return error
