"""What a world is made of, as a file or a program describes it.

::

    base = "empty"                   # or "default": with what libvirt's test:///default holds

    [host]                           # what it pretends to run on
    memory = 65536                   # MiB

    [profile.linux]                  # how guests behave
    boot = 20

    [[domain]]
    name = "web-%03d"                # web-001 .. web-500
    count = 500
    state = "running"
    profile = "linux"

    [[network]]
    name = "lab"
    subnet = "10.1.0.0/24"

    [[pool]]
    name = "images"
    path = "/srv/images"

    [[fault]]
    procedure = "domain_create*"
    error = "operation_failed"

The same tables, as dictionaries, come by the control API and from Python. Nothing is built here: see
:mod:`remotevirt.testing.building`.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from remotevirt.testing.profile import Profile
from remotevirt.testing.rules import Fault
from remotevirt.testing.values import WorldError, choice, field, flag, make, maybe, text, whole

__all__ = [
    "FILE_MAXIMUM",
    "DomainSpec",
    "HostSpec",
    "NetworkSpec",
    "PoolSpec",
    "WorldSpec",
    "load_file",
    "read_spec",
]

FILE_MAXIMUM: Final = 16 * 1024 * 1024
"""Bytes of a world's file."""

TABLES_MAXIMUM: Final = 16384
"""Tables of one kind, and guests of one template: what a world holds."""

NUMBER: Final = re.compile(r"%(0?\d?)d")
"""Where the number of a guest goes in a template's name."""

T = TypeVar("T")


def _tables(kind: type[T], name: str) -> Any:
    def convert(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple) or len(value) > TABLES_MAXIMUM:
            raise WorldError(f"{name}: at most {TABLES_MAXIMUM} tables are wanted")
        return tuple(
            table if isinstance(table, kind) else make(kind, table, f"{name} {number}")
            for number, table in enumerate(value, 1)
        )

    return field(convert, ())


def _places(name: str, key: str) -> Any:
    """A list of tables of texts; a bare text stands for a table with one key."""

    def convert(value: Any) -> tuple[Mapping[str, str], ...]:
        if not isinstance(value, list | tuple) or len(value) > 64:
            raise WorldError(f"{name}: a list of at most 64 is wanted")
        found = []
        for one in value:
            table = one if isinstance(one, Mapping) else {key: one}
            found.append({text(name)(word): text(name)(what) for word, what in table.items()})
        return tuple(found)

    return field(convert, ())


def document(value: Any) -> str:
    """Convert a document, whose length is bounded where it is parsed."""
    if not isinstance(value, str):
        raise WorldError(f"xml: a document is wanted, not {value!r:.80}")
    return value


def _subnet(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return None if value is None else ipaddress.ip_network(value)
    except ValueError as error:
        raise WorldError(f"subnet: {error}") from None


@attrs.frozen(kw_only=True)
class HostSpec:
    """The host: memory in MiB, MHz of a CPU, and how CPUs are arranged."""

    memory: int = field(whole("memory", 1, 2**40), 3072)
    model: str = field(text("model"), "i686")
    mhz: int = field(whole("mhz"), 1400)
    nodes: int = field(whole("nodes", 1, 64), 2)
    sockets: int = field(whole("sockets", 1, 64), 2)
    cores: int = field(whole("cores", 1, 1024), 2)
    threads: int = field(whole("threads", 1, 16), 2)


@attrs.frozen(kw_only=True)
class DomainSpec:
    """A domain, or with ``count`` many that differ by the number in their names.

    Attributes:
        name: with one ``%d`` or ``%03d`` where a number goes, if there are many.
        count: how many; first: the number of the first.
        uuid: of a single one; made from the name by default, so that it is the same each time.
        memory: in MiB; vcpus: how many CPUs.
        state: ``"shut off"``, ``"running"`` or ``"paused"``.
        persistent, autostart: what they say.
        profile: how it behaves, by name; None: as libvirt's test driver.
        disks: sources (``"/images/a.img"``), or tables with ``source``, ``target`` and ``bus``.
        interfaces: names of networks, or tables with ``network``, ``mac`` and ``target``.
        on_poweroff, on_reboot, on_crash: what these lead to.
        xml: the whole document instead; name and UUID are put in.
    """

    name: str = field(text("name"))
    count: int | None = maybe(whole("count", 1, TABLES_MAXIMUM))
    first: int = field(whole("first"), 1)
    uuid: str | None = maybe(text("uuid"))
    memory: int = field(whole("memory", 1, 2**40), 512)
    vcpus: int = field(whole("vcpus", 1, 4096), 1)
    state: str = field(choice("state", "shut off", "running", "paused"), "shut off")
    persistent: bool = field(flag("persistent"), True)
    autostart: bool = field(flag("autostart"), False)
    profile: str | None = maybe(text("profile"))
    disks: tuple[Mapping[str, str], ...] = _places("disks", "source")
    interfaces: tuple[Mapping[str, str], ...] = _places("interfaces", "network")
    on_poweroff: str = field(text("on_poweroff"), "destroy")
    on_reboot: str = field(text("on_reboot"), "restart")
    on_crash: str = field(text("on_crash"), "destroy")
    xml: str | None = maybe(document)

    def __attrs_post_init__(self) -> None:
        """Check the table as a whole; raises WorldError."""
        if self.count is not None and len(NUMBER.findall(self.name)) != 1:
            raise WorldError(f"name: many guests need one %d where their numbers go, not {self.name!r}")
        if self.count is not None and self.uuid is not None:
            raise WorldError("uuid: many guests cannot have one")
        if not self.persistent and self.state == "shut off":
            raise WorldError("persistent: what is shut off is persistent, or gone")

    def names(self) -> list[str]:
        """Return the names of all that it describes."""
        if self.count is None:
            return [self.name]
        before, width, after = NUMBER.split(self.name)
        numbers = range(self.first, self.first + self.count)
        return [f"{before}{number:{width or ''}d}{after}" for number in numbers]


@attrs.frozen(kw_only=True)
class NetworkSpec:
    """A network: its addresses as a ``subnet``, or its whole document as ``xml``."""

    name: str = field(text("name"))
    uuid: str | None = maybe(text("uuid"))
    bridge: str | None = maybe(text("bridge"))
    forward: str | None = maybe(text("forward"), "nat")
    subnet: ipaddress.IPv4Network | ipaddress.IPv6Network | None = field(_subnet, None)  # noqa: RUF009
    active: bool = field(flag("active"), True)
    autostart: bool = field(flag("autostart"), False)
    xml: str | None = maybe(document)


@attrs.frozen(kw_only=True)
class VolumeSpec:
    """A volume; sizes in bytes."""

    name: str = field(text("name"))
    capacity: int = field(whole("capacity", 0, 2**62), 2**30)
    allocation: int = field(whole("allocation", 0, 2**62), 0)


@attrs.frozen(kw_only=True)
class PoolSpec:
    """A storage pool of 100 GiB, with its volumes; ``exhausted``: nothing fits in any more."""

    name: str = field(text("name"))
    uuid: str | None = maybe(text("uuid"))
    path: str = field(text("path"), "/pool")
    volumes: tuple[VolumeSpec, ...] = _tables(VolumeSpec, "volumes")
    exhausted: bool = field(flag("exhausted"), False)
    active: bool = field(flag("active"), True)
    autostart: bool = field(flag("autostart"), False)
    xml: str | None = maybe(document)


def _host(value: Any) -> HostSpec:
    return value if isinstance(value, HostSpec) else make(HostSpec, value, "host")


def _profiles(value: Any) -> Mapping[str, Profile]:
    if not isinstance(value, Mapping):
        raise WorldError("profile: a table of tables is wanted")
    return {
        name: table if isinstance(table, Profile) else make(Profile, table, f"profile {name}")
        for name, table in value.items()
    }


@attrs.frozen(kw_only=True)
class WorldSpec:
    """A whole world.

    Attributes:
        base: what it begins with: ``"empty"``, or ``"default"``, what libvirt's ``test:///default`` holds.
        host: what it pretends to run on; None: libvirt's.
        profile: how guests behave, by the names that domains say.
        domain, network, pool, fault: what is in it.
        node: libvirt's own kind of description (``<node>``), instead of ``base``.
    """

    base: str = field(choice("base", "empty", "default"), "empty")
    host: HostSpec | None = maybe(_host)  # noqa: RUF009
    profile: Mapping[str, Profile] = field(_profiles, attrs.Factory(dict))
    domain: tuple[DomainSpec, ...] = _tables(DomainSpec, "domain")
    network: tuple[NetworkSpec, ...] = _tables(NetworkSpec, "network")
    pool: tuple[PoolSpec, ...] = _tables(PoolSpec, "pool")
    fault: tuple[Fault, ...] = _tables(Fault, "fault")
    node: str | None = maybe(document)

    def __attrs_post_init__(self) -> None:
        """Check that names are there, and are there once; raises WorldError."""
        for kind, names in (
            ("domain", [name for domain in self.domain for name in domain.names()]),
            ("network", [network.name for network in self.network]),
            ("pool", [pool.name for pool in self.pool]),
        ):
            twice = next((name for name, times in Counter(names).items() if times > 1), None)
            if twice is not None:
                raise WorldError(f"{kind} {twice!r} is there twice")
        for domain in self.domain:
            if domain.profile is not None and domain.profile not in self.profile:
                raise WorldError(f"domain {domain.name!r}: there is no profile {domain.profile!r}")

    def profiles(self) -> dict[str, Profile]:
        """Return how domains behave, by their names."""
        return {
            name: self.profile[domain.profile]
            for domain in self.domain
            if domain.profile is not None
            for name in domain.names()
        }


def read_spec(content: Mapping[str, Any] | str | WorldSpec, where: str = "world") -> WorldSpec:
    """Return the world that a table describes, or a text: TOML, or libvirt's XML.

    Raises:
        WorldError: it makes no sense; the text begins with ``where``.
    """
    if isinstance(content, WorldSpec):
        return content
    if isinstance(content, str):
        if content.lstrip().startswith("<"):
            return WorldSpec(node=content)
        try:
            content = tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            raise WorldError(f"{where}: {error}; a world is written in TOML or libvirt's XML") from None
    return make(WorldSpec, content, where)


def load_file(path: str | Path) -> WorldSpec:
    """Return the world that a file describes, as TOML or libvirt's XML.

    Raises:
        WorldError: it cannot be read, or makes no sense.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(FILE_MAXIMUM + 1)
        if len(data) > FILE_MAXIMUM:
            raise WorldError(f"{path}: it has more than {FILE_MAXIMUM} bytes")
        return read_spec(data.decode(), str(path))
    except OSError as error:
        raise WorldError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WorldError(f"{path}: it is no UTF-8 text") from None
