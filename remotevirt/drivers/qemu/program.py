"""libvirt's program for QEMU: commands for a guest's monitor, as a client wrote them.

The driver believes that it knows what its guests are like, and a command may make that untrue; so a guest
that got one is marked (:mod:`remotevirt.drivers.qemu.messages`). An answer is given to the client as QEMU
gave it, refusals included, with the id of no real command. Who has asked for events is known to the server;
they are published by :mod:`remotevirt.drivers.qemu.telling`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from remotevirt.drivers.qemu.calls import QemuCalls
from remotevirt.drivers.qemu.guest import Guest
from remotevirt.drivers.qemu.messages import CUSTOM_MONITOR, taint
from remotevirt.drivers.qemu.qmp import QmpError
from remotevirt.procedures import FilesResult
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import ArgumentUnsupported, InternalError
from remotevirt.stubs.remote import NonnullDomain
from remotevirt.stubs.remote.types import REMOTE_STRING_MAX

__all__ = ["ProgramCalls"]

HMP: Final[int] = c.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
MEMBERS: Final = ("execute", "arguments", "id")
"""What may stand in a command. Out of band commands are the driver's own."""

_numbers: Final = count(1)
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class ProgramCalls(QemuCalls):
    """The calls of the program."""

    async def qemu_domain_monitor_command(self, dom: NonnullDomain, cmd: str, flags: int) -> str:
        """Give a command to a guest's QEMU, and return the answer.

        Args:
            dom: the domain.
            cmd: a line of QMP; with VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP one for people.
            flags: see there.

        Raises:
            InternalError: it is not JSON, or the answer is too long for a reply.
        """
        return await self._command(dom, cmd, flags, ())

    async def qemu_domain_monitor_command_with_files(
        self, dom: NonnullDomain, cmd: str, flags: int, files: Sequence[int]
    ) -> FilesResult[str]:
        """As domain_monitor_command, with a descriptor for QEMU (``getfd``, ``add-fd``), which sends none."""
        if len(files) > 1:
            text = "QEMU takes one descriptor with a command"
            raise ArgumentUnsupported(text, domain=c.VIR_FROM_QEMU)
        return FilesResult((), await self._command(dom, cmd, flags, files))

    async def _command(self, dom: NonnullDomain, cmd: str, flags: int, files: Sequence[int]) -> str:
        self.check_flags(flags, HMP, "DomainQemuMonitorCommandWithFiles")
        record = self.record(dom)
        self.guest(record)
        async with self.turn(record, "qemuDispatchDomainMonitorCommand"):
            guest = self.guest(record)
            if flags & HMP:
                taint(guest, CUSTOM_MONITOR)
                answer = await guest.execute("human-monitor-command", {"command-line": cmd}, files=files)
                text = answer.replace("\0", "\ufffd") if isinstance(answer, str) else _encode(answer)
            else:
                command = _parse(cmd)
                taint(guest, CUSTOM_MONITOR)
                text = _encode(await _run(guest, command, files))
        if len(text.encode()) > REMOTE_STRING_MAX:
            raise InternalError("QEMU's answer is too long", domain=c.VIR_FROM_QEMU)
        return text


def _parse(text: str) -> Any:
    """Return what a client's line says.

    Raises:
        InternalError: it is no JSON, or has an id, which is the driver's to give.
    """
    try:
        command = json.loads(text)
        _encode(command).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise InternalError(f"cannot parse json {text}: {error}", domain=c.VIR_FROM_NONE) from error
    if isinstance(command, dict) and "id" in command:
        raise InternalError("Unable to append command 'id' string", domain=c.VIR_FROM_QEMU)
    return command


async def _run(guest: Guest, command: Any, files: Sequence[int]) -> dict[str, Any]:
    """Run a command; return the whole answer. What cannot be one is answered in QEMU's words."""
    if not isinstance(command, dict):
        return _refusal("QMP input must be a JSON object")
    for name in command:
        if name not in MEMBERS:
            return _refusal(f"QMP input member '{name}' is unexpected")
    name, arguments = command.get("execute"), command.get("arguments", {})
    if "execute" not in command:
        return _refusal("QMP input lacks member 'execute'")
    if not isinstance(name, str):
        return _refusal("QMP input member 'execute' must be a string")
    if not isinstance(arguments, dict):
        return _refusal("QMP input member 'arguments' must be an object")
    id = f"libvirt-{next(_numbers)}"
    try:
        answer = await guest.execute(name, arguments or None, files=files)
    except InternalError as error:
        if not isinstance(error.__cause__, QmpError):
            raise
        refused = error.__cause__
        return {"id": id, "error": {"class": refused.klass, "desc": refused.description}}
    return {"return": answer, "id": id}


def _refusal(text: str) -> dict[str, Any]:
    return {"error": {"class": "GenericError", "desc": text}}
