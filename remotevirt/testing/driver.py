"""The driver ``fake``: libvirt's test hypervisor, in as many worlds as are asked for, under a test's control.

::

    test:///NAME      the world NAME, made when it is first opened, of what ``world=FILE`` describes
    test:///X.xml     a world of the connection's own, below ``files=DIR``, as with the driver ``test``

It answers the scheme ``test``, so that clients need not know that it is not libvirt's.
"""

from __future__ import annotations

import re
import tomllib
from functools import partial
from typing import Any, Final

from zope.interface import implementer

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI, IDriver
from remotevirt.drivers.test.driver import TestDriver
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg, OperationFailed
from remotevirt.testing.clock import WorldClock
from remotevirt.testing.description import WorldSpec, load_file, read_spec
from remotevirt.testing.faulty import faulty
from remotevirt.testing.guest_calls import GuestHypervisor, NewerGuestHypervisor
from remotevirt.testing.leases import GuestNetworks, NewerGuestNetworks
from remotevirt.testing.recording import Recorder
from remotevirt.testing.rules import OPEN, PROCEDURES, Fault
from remotevirt.testing.values import WorldError, make
from remotevirt.testing.world import FakeWorld

__all__ = ["WORLDS_MAXIMUM", "FakeDriver", "parse_fault"]

WORLDS_MAXIMUM: Final = 1000
"""Worlds of one daemon."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a world may be called."""

BETWEEN: Final = re.compile(r",(?![^\[]*\])")
"""What divides the words of a rule: commas, but not those of a list."""


def parse_fault(text: str) -> Fault:
    """Read a rule of a command line: ``procedure=virDomainCreate*,error=operation_failed,count=2``.

    Raises:
        WorldError: it is no rule.
    """
    table: dict[str, Any] = {}
    for word in BETWEEN.split(text):
        key, equals, value = word.partition("=")
        if not equals:
            raise WorldError(f"fault {text!r}: KEY=VALUE,KEY=VALUE,... is wanted")
        try:
            table[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            table[key.strip()] = value.strip()
    return make(Fault, table, f"fault {text!r}")


@implementer(IDriver)
class FakeDriver(TestDriver):
    """The hypervisor for tests.

    Args:
        world: the file that describes what worlds hold at first (``fake:world=lab.toml``); none: what
            libvirt's ``test:///default`` holds.
        clock: ``"auto"``, or ``"manual"`` for time that stands still until it is advanced.
        fault: rules for every world, ``KEY=VALUE,...``, several of them between semicolons.
        files: as for the driver ``test``.
        control: an endpoint for the control API (``fake:control=unix\\:/run/fake.control``).
        reactor: the clock of worlds whose time is not manual; None: Twisted's.
        newer: serve what libvirt's test driver has learnt since 9.0.0: devices that are attached and
            detached, metadata of networks, domain capabilities. ``fake:newer=no`` does not.

    Attributes:
        worlds: by name.
        tracers: what a daemon that serves this driver has to have, for the calls to be recorded.

    Raises:
        ValueError: an option makes no sense.
    """

    name = "fake"
    schemes = ("test",)
    default_uri = "test:///default"

    def __init__(
        self,
        world: str | WorldSpec | None = None,
        clock: str = "auto",
        fault: str | None = None,
        files: str | bool | None = None,
        control: str | None = None,
        reactor: Any = None,
        newer: bool | str = True,
    ) -> None:
        if newer not in (True, False, "yes", "no"):
            raise WorldError(f"newer: yes or no is wanted, not {newer!r}")
        super().__init__(files=files, newer=newer in (True, "yes"))
        if clock not in ("auto", "manual"):
            raise WorldError(f"clock: auto or manual is wanted, not {clock!r}")
        if isinstance(world, bool) or isinstance(control, bool) or isinstance(fault, bool):
            raise WorldError("world, control and fault need a value each")
        self.manual = clock == "manual"
        self.spec = WorldSpec(base="default") if world is None else read_file_or_spec(world)
        self.extra = [parse_fault(text) for text in (fault or "").split(";") if text.strip()]
        self.worlds: dict[str, FakeWorld] = {}
        self.tracers = (Recorder(),)
        self._reactor = reactor
        first = FakeWorld("first", self.spec, WorldClock())  # what is wrong with it is said now
        self._contents = first.contents
        first.close()
        if control is not None:
            from remotevirt.testing.control import serve_with_reactor  # noqa: PLC0415 - it knows us

            serve_with_reactor(self, control)

    def world(self, name: str = "default") -> FakeWorld:
        """Return a world, which is made if it is not there yet.

        Raises:
            WorldError: it cannot be called that, or there are too many.
        """
        found = self.worlds.get(name)
        return self.make_world(name, self.spec) if found is None else found

    def make_world(self, name: str, content: Any) -> FakeWorld:
        """Make a world of a description, in place of one of its name; clients of that one keep it.

        Args:
            name: of letters, digits, dots, hyphens and underscores.
            content: as :func:`~remotevirt.testing.description.read_spec` takes it.

        Raises:
            WorldError: name or description make no sense, or there are too many worlds.
        """
        if NAME.fullmatch(name) is None:
            raise WorldError(f"a world is called by letters, digits, dots, hyphens, not {name!r:.80}")
        if name not in self.worlds and len(self.worlds) >= WORLDS_MAXIMUM:
            raise WorldError(f"there are {WORLDS_MAXIMUM} worlds already")
        clock = WorldClock() if self.manual else WorldClock(self._find_reactor())
        spec = read_spec(content)
        world = FakeWorld(name, spec, clock, self._contents if spec is self.spec else None)
        for fault in self.extra:
            world.engine.add(fault)
        self.forget_world(name)
        self.worlds[name] = world
        return world

    def forget_world(self, name: str) -> None:
        """Forget a world, if it is there; the next client that opens it finds a new one."""
        world = self.worlds.pop(name, None)
        if world is not None:
            world.close()

    def _find_reactor(self) -> Any:
        if self._reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 (importing it installs it)

            self._reactor = reactor
        return self._reactor

    def open(self, uri: DriverURI, client: ClientInfo) -> Any:
        """Open a world, or what the driver ``test`` opens.

        Raises:
            VirError: the URI names nothing, or a rule says so.
        """
        name = uri.path.removeprefix("/")
        if not name or "/" in name or name.endswith(".xml"):
            return super().open(uri, client)
        try:
            world = self.world(name)
        except WorldError as error:
            if NAME.fullmatch(name) is None:
                raise InvalidArg(str(error), domain=c.VIR_FROM_TEST) from None
            raise OperationFailed(str(error), domain=c.VIR_FROM_TEST) from None
        who = world.admit(client)

        def connect() -> DriverConnection:
            hypervisor = NewerGuestHypervisor if self.newer else GuestHypervisor
            networks = NewerGuestNetworks if self.newer else GuestNetworks
            connection = self._connect(uri, world.world, make=partial(hypervisor, world.guests))
            assert isinstance(connection.hypervisor, GuestHypervisor)
            connection.network = networks(world.guests, connection.hypervisor)
            return faulty(connection, world.engine, who)

        if not len(world.engine):
            return connect()
        return world.engine.call(OPEN, PROCEDURES[OPEN], connect, (), who)


def read_file_or_spec(world: str | WorldSpec) -> WorldSpec:
    """Return a description, which may stand in a file."""
    try:
        return world if isinstance(world, WorldSpec) else load_file(world)
    except VirError as error:
        raise WorldError(error.message) from error
