"""The table of procedures, made from the code.

``procedures:: PROGRAM``    every procedure of a program, and who answers it when which driver is served
``procedure-counts``        the same in numbers

Who answers is found the way the daemon finds it for a call: a session is opened, and asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from tables import TableDirective

from remotevirt.admin import AdminSession, Controls
from remotevirt.drivers import DriverConnection, Event
from remotevirt.drivers.host import HostDevices, HostInterfaces
from remotevirt.drivers.qemu.hypervisor import QemuHypervisor
from remotevirt.drivers.secret import RealSecrets
from remotevirt.drivers.storage import RealStorage
from remotevirt.drivers.test.driver import TestDriver
from remotevirt.errors import VirError
from remotevirt.identity import Identity
from remotevirt.procedures import Procedure, Program
from remotevirt.server.daemon import PROGRAMS, Daemon
from remotevirt.server.session import Session
from remotevirt.stubs import admin
from remotevirt.stubs.constants import VIR_ERR_NO_SUPPORT

SERVED = (*PROGRAMS, admin.PROGRAM)
DRIVERS = ("test", "qemu")
BY_NAME = {program.name: program for program in SERVED}


class _Nobody:
    """The client of a session that nobody uses.

    Args:
        daemon: whose session it is.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.readonly = False
        self.authenticated = True
        self.identity = Identity()

    def send(self, message: bytes) -> None:
        """Send nothing."""

    def send_event(self, message: bytes, event: Event) -> None:
        """Send nothing."""

    def finish(self) -> None:
        """Finish nothing."""

    def start_keepalive(self) -> None:
        """Start nothing."""

    def authenticate(self, identity: Identity, layer: object = None) -> None:
        """Note nothing."""

    def forget_calls(self) -> None:
        """Forget nothing."""

    def drop(self, reason: str) -> None:
        """Disconnect nobody."""

    def later(self, call: Callable[[], None]) -> None:
        """Call nothing."""


@cache
def session(driver: str) -> Session:
    """A session with a connection to a driver."""
    daemon = Daemon([TestDriver()], reactor=object())
    found = Session(_Nobody(daemon))
    if driver == "test":
        found.connect_open("test:///default", 0)
    else:
        found.connection = _qemu()
    return found


def _qemu() -> DriverConnection:
    """A connection that has the QEMU driver's methods, and nothing to work on: no QEMU is looked for."""
    return DriverConnection(
        uri="qemu:///system",
        hypervisor=QemuHypervisor.__new__(QemuHypervisor),
        storage=RealStorage.__new__(RealStorage),
        interface=HostInterfaces.__new__(HostInterfaces),
        nodedev=HostDevices.__new__(HostDevices),
        secret=RealSecrets.__new__(RealSecrets),
    )


@cache
def admin_session() -> AdminSession:
    """A session of the admin program, in a daemon with all that can be plugged in."""
    nothing: Any = object()
    nobody: Any = _Nobody(Daemon([TestDriver()], reactor=nothing))
    return AdminSession(nobody, Controls(nothing, nothing, nothing, nothing))


def answers(program: Program, procedure: Procedure, driver: str = "test") -> str:
    """Who answers a procedure: ``"daemon"``, the driver (its name), ``"event"``, or nobody: ``""``."""
    if procedure.event:
        return "event"
    try:
        asked: Any = admin_session() if program is admin.PROGRAM else session(driver)
        method = asked.find(program, procedure)[0]
    except VirError as error:
        if error.code != VIR_ERR_NO_SUPPORT:
            raise
        return ""
    owner = getattr(method, "__self__", None)
    if isinstance(owner, Session | AdminSession):
        return "daemon"
    function = getattr(method, "__func__", method)
    if owner is None or function.__module__.startswith("remotevirt.stubs."):
        return ""  # what answers is not a method of the driver, or one that it has not overridden
    return driver


def who_answers(program: Program, procedure: Procedure) -> str:
    """The same with all drivers, as the table has it."""
    found = dict.fromkeys(answers(program, procedure, driver) for driver in DRIVERS)
    return ", ".join(who for who in found if who)


def notes(procedure: Procedure) -> str:
    """What is special about a procedure's messages."""
    found = []
    if procedure.readstream:
        found.append("opens a stream to the client")
    if procedure.writestream:
        found.append("opens a stream from the client")
    if procedure.sparseflag:
        found.append("which may be sparse")
    if procedure.fds_in:
        found.append("the call carries descriptors")
    if procedure.fds_out:
        found.append("the reply carries descriptors")
    if procedure.pre_auth:
        found.append("allowed before authentication")
    return ", ".join(found)


class Procedures(TableDirective):
    """One program's table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        program = BY_NAME[self.arguments[0]]
        rows = [
            [
                str(number),
                f"``{procedure.name}``",
                f"``{procedure.api}``" if procedure.api else "",
                procedure.since or "",
                who_answers(program, procedure),
                notes(procedure),
            ]
            for number, procedure in sorted(program.procedures.items())
        ]
        head = ["no.", "procedure", "libvirt's function", "since", "answered by", "notes"]
        return self.table(head, rows, [1, 6, 6, 1, 2, 3])


class ProcedureCounts(TableDirective):
    """How many procedures of each program are answered, and by whom."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = []
        for program in SERVED:
            found = [
                [answers(program, procedure, driver) for driver in DRIVERS]
                for procedure in program.procedures.values()
            ]
            counts = [sum(who in each for each in found) for who in ("daemon", *DRIVERS)]
            counts += [found.count([who] * len(DRIVERS)) for who in ("", "event")]
            rows.append([program.name, str(len(found)), *map(str, counts)])
        head = [
            "program",
            "procedures",
            "answered by the daemon",
            *(f"by driver ``{driver}``" for driver in DRIVERS),
            "by nobody yet",
            "events",
        ]
        return self.table(head, rows, [2, 2, 2, 2, 2, 2, 2])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("procedures", Procedures)
    app.add_directive("procedure-counts", ProcedureCounts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
