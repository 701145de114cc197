"""The test hypervisor as a driver: which world a connection gets.

``test:///default``
    one world, shared by all its connections. As in libvirt it is made anew when somebody opens it after
    the last connection has closed; with the option ``keep`` it lives as long as the daemon.
``test:///PATH.xml``
    a world of the connection's own, from a node file below the folder of the option ``files``.
``test:///NAME``
    with the option ``state``: a world that lasts (:mod:`remotevirt.drivers.test.worlds`); ``default`` too.

It answers as libvirt 9.0.0's test driver; with the option ``newer`` it has what later ones have besides
(:mod:`remotevirt.drivers.test.newer`).
"""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from remotevirt.drivers.base import ClientInfo, DriverConnection, DriverURI, IDriver
from remotevirt.drivers.folder import Folder
from remotevirt.drivers.journal import Journal
from remotevirt.drivers.test.default_world import default_world
from remotevirt.drivers.test.file_world import file_world
from remotevirt.drivers.test.hypervisor import TestHypervisor
from remotevirt.drivers.test.interfaces import TestInterfaces
from remotevirt.drivers.test.networks import TestNetworks
from remotevirt.drivers.test.newer import NewerDevices, NewerHypervisor, NewerNetworks
from remotevirt.drivers.test.nodedevs import TestDevices
from remotevirt.drivers.test.secrets import TestSecrets
from remotevirt.drivers.test.volumes import TestPools
from remotevirt.drivers.test.vports import VportMaker
from remotevirt.drivers.test.world import World
from remotevirt.drivers.test.worlds import Worlds
from remotevirt.stubs import constants as c
from remotevirt.stubs.errors import InvalidArg

__all__ = ["TestDriver"]


@implementer(IDriver)
class TestDriver:
    """An embedded hypervisor that runs nothing and answers everything, for trying things out.

    Args:
        keep: hold one default world for the daemon's life (``test:keep``).
        files: the folder below which clients may name files: node files, saved domains, dumps
            (``test:files=DIR``); None for no files.
        state: the folder for what must outlive the daemon (``test:state=DIR``, or the daemon's ``--state``);
            None for worlds that do not last.
        newer: serve what libvirt's test driver has learnt since 9.0.0 (``test:newer``).

    Raises:
        ValueError: an option makes no sense.
    """

    name = "test"
    schemes = ("test",)
    default_uri = "test:///default"

    def __init__(
        self,
        keep: bool | str = False,
        files: str | bool | None = None,
        state: str | bool | None = None,
        newer: bool | str = False,
    ) -> None:
        for name, value in (("keep", keep), ("newer", newer)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} takes no value")
        if isinstance(files, bool):
            raise ValueError("files needs a folder: files=DIR")
        if isinstance(state, bool):
            raise ValueError("state needs a folder: state=DIR")
        self.keep = keep
        self.newer = newer
        self.lasting = None if state is None else Worlds(state)
        self.folder = None if files is None else Folder(files)
        self.shared: World | None = None
        self.users = 0

    def open(self, uri: DriverURI, client: ClientInfo) -> DriverConnection:
        """Open the default world or that of a node file.

        Raises:
            VirError: the URI names neither, or its file is refused.
        """
        if uri.path in ("", "/"):
            raise InvalidArg("testOpen: supply a path or use test:///default", domain=c.VIR_FROM_TEST)
        if self.lasting is not None:
            name = self.lasting.name_in(uri.path)
            if name is not None:
                return self._connect(uri, *self.lasting.get(name, readonly=client.readonly))
        elif uri.path == "/default":
            if self.shared is None:
                self.shared = default_world()
            self.users += 1
            return self._connect(uri, self.shared, on_close=_Once(self._leave))
        world = file_world(uri.path, self.folder, readonly=client.readonly)
        return self._connect(uri, world)

    def start(self) -> None:
        """Be told that the daemon starts: open what lasts."""
        if self.lasting is not None:
            self.lasting.start()

    def stop(self) -> None:
        """Be told that the daemon ends: close what lasts."""
        if self.lasting is not None:
            self.lasting.stop()

    def _leave(self) -> None:
        """Note that a connection to the default world has closed."""
        self.users -= 1
        if self.users == 0 and not self.keep:
            self.shared = None

    def _connect(
        self,
        uri: DriverURI,
        world: World,
        journal: Journal | None = None,
        on_close: Callable[[], None] = lambda: None,
        make: Callable[[World, str, Folder | None], TestHypervisor] | None = None,
    ) -> DriverConnection:
        """Compose a connection to a world; ``make`` makes its hypervisor, None for the usual one."""
        make = make or (NewerHypervisor if self.newer else TestHypervisor)
        networks, devices = (NewerNetworks, NewerDevices) if self.newer else (TestNetworks, TestDevices)
        hypervisor = make(world, uri.text, self.folder)
        network = networks(world.networks, world.hub)
        storage = TestPools(world.pools, world.hub, VportMaker(world.devices))
        interface = TestInterfaces(world.interfaces)
        nodedev = devices(world.devices)
        if journal is not None:
            for part in (hypervisor, network, storage, interface, nodedev):
                journal.guard(part)
        return DriverConnection(
            uri=uri.text,
            hypervisor=hypervisor,
            network=network,
            storage=storage,
            interface=interface,
            nodedev=nodedev,
            secret=TestSecrets(),
            events=world.hub,
            on_close=on_close,
        )


class _Once:
    """Calls something the first time that it is called, and never again."""

    __slots__ = ("_action",)

    def __init__(self, action: object) -> None:
        self._action = action if callable(action) else None

    def __call__(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()
