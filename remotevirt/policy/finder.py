"""Which objects a client's reference really means.

A reference has several parts (the name and the UUID of a domain; pool, name and key of a volume), all of the
client's making, and drivers differ in which of them they go by. So each part is looked up in the connection's
own sub-drivers, and *every* object that one of them leads to has to be allowed. An honest reference agrees
with the object that its first part leads to, and then one look-up is enough.

What nobody can look up is a thing of which nothing is known, and that is allowed only where everything is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from remotevirt.drivers.base import DriverConnection
from remotevirt.errors import VirError
from remotevirt.policy.documents import metadata_element
from remotevirt.policy.rules import NAMELESS, Thing
from remotevirt.policy.turns import Steps, run
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote

__all__ = ["Finder", "agrees", "thing_of"]

ABSENT: Final = frozenset(
    {
        vir.VIR_ERR_NO_DOMAIN,
        vir.VIR_ERR_NO_INTERFACE,
        vir.VIR_ERR_NO_NETWORK,
        vir.VIR_ERR_NO_NETWORK_PORT,
        vir.VIR_ERR_NO_NODE_DEVICE,
        vir.VIR_ERR_NO_NWFILTER,
        vir.VIR_ERR_NO_NWFILTER_BINDING,
        vir.VIR_ERR_NO_SECRET,
        vir.VIR_ERR_NO_STORAGE_POOL,
        vir.VIR_ERR_NO_STORAGE_VOL,
    }
)
"""What drivers answer if there is no such object."""

BY_NAME_ALONE: Final = frozenset({"node_device", "nwfilter_binding"})
"""Objects that have nothing but a name: there is nothing to find out, and nothing to forge."""

Route: TypeAlias = Callable[[], Any]
"""One way to look something up: returns what the driver's look-up returns."""


def thing_of(kind: str, ref: Any) -> Thing:
    """Return what a reference *that a driver has made* says of its object."""
    if kind == "storage_vol":
        return Thing(kind, ref.name, b"", ref.pool)
    if kind == "network_port":
        return Thing(kind, NAMELESS, ref.uuid, ref.net.name)
    if kind == "secret":
        return Thing(kind, ref.usageID, ref.uuid)
    if kind == "nwfilter_binding":
        return Thing(kind, ref.portdev, b"")
    return Thing(kind, ref.name, getattr(ref, "uuid", b""))


class Finder:
    """Finds objects of one connection. Its methods are steps for :func:`~remotevirt.policy.turns.run`.

    Args:
        connection: what the client has opened.
    """

    __slots__ = ("_by_name", "_by_uuid", "_drivers")

    def __init__(self, connection: DriverConnection) -> None:
        self._drivers = own = connection
        self._by_uuid: dict[str, Callable[[Any], Any]] = {
            "domain": own.hypervisor.domain_lookup_by_uuid,
            "network": own.network.network_lookup_by_uuid,
            "nwfilter": own.nwfilter.nwfilter_lookup_by_uuid,
            "secret": own.secret.secret_lookup_by_uuid,
            "storage_pool": own.storage.storage_pool_lookup_by_uuid,
        }
        self._by_name: dict[str, Callable[[Any], Any]] = {
            "domain": own.hypervisor.domain_lookup_by_name,
            "interface": own.interface.interface_lookup_by_name,
            "network": own.network.network_lookup_by_name,
            "nwfilter": own.nwfilter.nwfilter_lookup_by_name,
            "storage_pool": own.storage.storage_pool_lookup_by_name,
        }

    def meant(self, kind: str, ref: Any, uris: frozenset[str] = frozenset()) -> Steps[list[Thing]]:
        """Find the objects that a client's reference can mean.

        Args:
            kind: of object.
            ref: from the client.
            uris: namespaces of metadata that matter.

        Returns:
            At least one thing; one of which nothing is known where it could not be looked up.

        Raises:
            VirError: there is no such object, or the driver fails.
        """
        if kind == "network_port":
            things = yield from self._ports(ref)
            return things
        if kind in BY_NAME_ALONE:
            return [thing_of(kind, ref)]
        found, blind, error = yield from self._ask(self._routes(kind, ref), ref)
        if not found and not blind and error is not None:
            raise error
        things = yield from self._things(kind, found, uris)
        if blind or not things:
            things.append(Thing(kind))
        return things

    def named(self, kind: str, name: str, uris: frozenset[str]) -> Steps[list[Thing]]:
        """Find the object of a name.

        Raises:
            VirError: there is no such object, or the driver fails.
        """
        if kind in BY_NAME_ALONE:
            return [Thing(kind, name, b"")]
        routes = self._by_parts(kind, Thing(kind, name), None)
        found, _, error = yield from self._ask(routes, None)
        if not found and error is not None:
            raise error
        things = yield from self._things(kind, found, uris)
        return things or [Thing(kind)]

    def defined(self, thing: Thing, parent: Any, uris: frozenset[str]) -> Steps[list[Thing]]:
        """Find the objects that are there already with the name or the UUID of one that shall be defined.

        Args:
            thing: what its document says.
            parent: the reference to its pool or network, where it has one.
            uris: namespaces of metadata that matter.

        Raises:
            VirError: the driver fails.
        """
        kind = thing.kind
        if kind in BY_NAME_ALONE:
            return []
        found, blind, _ = yield from self._ask(self._by_parts(kind, thing, parent), None)
        things = yield from self._things(kind, found, uris)
        if blind:
            things.append(Thing(kind))
        return things

    def first(self, kind: str) -> Callable[[Any], Any] | None:
        """Return what looks up a reference by the UUID in it, None if those of a kind have none."""
        by_uuid = self._by_uuid.get(kind)
        return None if by_uuid is None else lambda ref: by_uuid(ref.uuid)

    def domain_by_id(self, id: int) -> Any:
        """Return, or promise, the reference to the domain of an id."""
        return self._drivers.hypervisor.domain_lookup_by_id(id)

    def learn(self, thing: Thing, ref: Any, uris: frozenset[str]) -> Steps[None]:
        """Look up the metadata of a domain. What cannot be had stays unknown."""
        metadata: dict[str, Any] = {}
        for uri in uris:
            try:
                xml = yield self._drivers.hypervisor.domain_get_metadata(
                    ref, vir.VIR_DOMAIN_METADATA_ELEMENT, uri, vir.VIR_DOMAIN_AFFECT_CURRENT
                )
                metadata[uri] = metadata_element(xml)
            except VirError as error:
                if error.code == vir.VIR_ERR_NO_DOMAIN_METADATA:
                    metadata[uri] = None
        thing.metadata = metadata

    def _things(self, kind: str, refs: list[Any], uris: frozenset[str]) -> Steps[list[Thing]]:
        """Return what is known of objects that a driver has found."""
        things = []
        for ref in refs:
            thing = thing_of(kind, ref)
            if uris:
                yield from self.learn(thing, ref, uris)
            things.append(thing)
        return things

    # -- asking --------------------------------------------------------------------------------------

    @staticmethod
    def _ask(routes: Any, ref: Any) -> Steps[tuple[list[Any], bool, VirError | None]]:
        """Go all ways until the first leads to what agrees with a reference.

        Returns:
            What was found; whether a way could not be gone; what the first said that led nowhere.
        """
        found: list[Any] = []
        blind = False
        absent: VirError | None = None
        for number, route in enumerate(routes):
            try:
                true = yield route()
            except VirError as error:
                if error.code == vir.VIR_ERR_NO_SUPPORT:
                    blind = True
                elif error.code in ABSENT:
                    absent = absent or error
                else:
                    raise
                continue
            if number == 0 and ref is not None and agrees(true, ref):
                return [true], False, None
            if true not in found:
                found.append(true)
        return found, blind, absent

    def _routes(self, kind: str, ref: Any) -> Iterator[Route]:
        """The ways to what a reference means, the one that most drivers go first."""
        own = self._drivers
        if kind == "domain":
            yield lambda: own.hypervisor.domain_lookup_by_uuid(ref.uuid)
            yield lambda: own.hypervisor.domain_lookup_by_name(ref.name)
            if ref.id >= 0:
                yield lambda: own.hypervisor.domain_lookup_by_id(ref.id)
        elif kind == "storage_vol":
            yield from self._volumes(ref.pool, ref.name)
            yield lambda: own.storage.storage_vol_lookup_by_key(ref.key)
        elif kind == "interface":
            yield lambda: own.interface.interface_lookup_by_name(ref.name)
            if ref.mac:
                yield lambda: own.interface.interface_lookup_by_mac_string(ref.mac)
        elif kind == "secret":
            yield lambda: own.secret.secret_lookup_by_uuid(ref.uuid)
            yield lambda: own.secret.secret_lookup_by_usage(ref.usageType, ref.usageID)
        else:
            yield from self._by_parts(kind, thing_of(kind, ref), None)

    def _by_parts(self, kind: str, thing: Thing, parent: Any) -> Iterator[Route]:
        """The ways from what is known of an object; none from what is not known."""
        own, name, uuid = self._drivers, thing.name, thing.uuid
        by_uuid, by_name = self._by_uuid.get(kind), self._by_name.get(kind)
        if uuid and by_uuid:
            yield lambda: by_uuid(uuid)
        if uuid and kind == "network_port":
            yield lambda: own.network.network_port_lookup_by_uuid(parent, uuid)
        if name and by_name:
            yield lambda: by_name(name)
        if name and kind == "storage_vol":
            yield lambda: own.storage.storage_vol_lookup_by_name(parent, name)

    def _volumes(self, pool: str, name: str) -> Iterator[Route]:
        """The way to a volume by its pool's name and its own."""
        storage = self._drivers.storage

        def look() -> Any:
            def steps() -> Steps[Any]:
                parent = yield storage.storage_pool_lookup_by_name(pool)
                volume = yield storage.storage_vol_lookup_by_name(parent, name)
                return volume

            return run(steps())

        yield look

    def _ports(self, ref: remote.NonnullNetworkPort) -> Steps[list[Thing]]:
        """A port is in each network that its reference can mean."""
        things = yield from self.meant("network", ref.net)
        return [Thing("network_port", NAMELESS, ref.uuid, thing.name) for thing in things]


def agrees(true: Any, ref: Any) -> bool:
    """Tell whether a reference is that of the object that it led to.

    The id of a domain that does not run is -1, and clients keep such references long after it was started.
    """
    if isinstance(ref, remote.NonnullDomain):
        return bool(true[:2] == ref[:2] and (ref.id < 0 or true.id == ref.id))
    return bool(tuple(true) == tuple(ref))
