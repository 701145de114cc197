"""What the writers do to domains, and what a domain looks like from outside.

The document of a generation names it in several places, and is longer than a page of a database, so that half
of one and half of another is recognised.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from remotevirt.stubs import constants as c
from remotevirt.stubs import remote
from remotevirt.stubs.remote import NonnullDomain, NonnullDomainSnapshot
from remotevirt.stubs.remote.snapshot import DomainSnapshotListNamesRet
from tests.wire import REMOTE, Frame, WireClient

__all__ = [
    "ABSENT",
    "MAX_SNAPSHOTS",
    "QEMU",
    "TEST",
    "Kind",
    "Operation",
    "State",
    "Torn",
    "call",
    "look",
    "operations",
    "ref_of",
]

REPEATS = 600
"""How often the description says its generation: 5 KiB."""

MAX_SNAPSHOTS = 3


class Kind(NamedTuple):
    """Whose domains.

    Attributes:
        uri: that clients open.
        type: of a domain's document.
        system: what the guest boots from.
        snapshots: domains have some.
    """

    uri: str
    type: str
    system: str
    snapshots: bool


TEST = Kind("test:///default", "test", "<type>hvm</type>", snapshots=True)
QEMU = Kind("qemu:///system", "qemu", "<type arch='x86_64' machine='q35'>hvm</type>", snapshots=False)


class State(NamedTuple):
    """A domain as the oracle knows it; generation 0: it is not there."""

    generation: int = 0
    autostart: bool = False
    snapshots: tuple[str, ...] = ()


ABSENT = State()


class Operation(NamedTuple):
    """A call, and the state that it leads to."""

    name: str
    procedure: str
    arguments: tuple[object, ...]
    state: State


class Torn(Exception):
    """A domain is half of one thing and half of another."""


def ref_of(name: str) -> NonnullDomain:
    """The reference to a domain; the UUID follows from the name."""
    return NonnullDomain(name, uuid5(NAMESPACE_URL, name).bytes, -1)


def _document(kind: Kind, name: str, generation: int) -> str:
    mark = f"g{generation}"
    return (
        f"<domain type='{kind.type}'><name>{name}</name><uuid>{uuid5(NAMESPACE_URL, name)}</uuid>"
        f"<title>{mark}</title><description>{' '.join([mark] * REPEATS)}</description>"
        f"<memory>{1024 * (1 + generation)}</memory><vcpu>1</vcpu><os>{kind.system}</os></domain>"
    )


def call(client: WireClient, procedure: str, *arguments: object) -> Frame:
    """Call a procedure of the remote program."""
    row = remote.PROGRAM.by_name[procedure]
    payload = b"" if row.args is None else row.args(*arguments).pack()
    return client.call(REMOTE, row.number, payload)


def operations(kind: Kind, chance: random.Random, name: str, state: State, next_generation: int) -> Operation:
    """Draw the next operation on a domain in a state."""
    ref = ref_of(name)

    def define() -> Operation:
        new = state._replace(generation=next_generation)
        return Operation(name, "domain_define_xml", (_document(kind, name, next_generation),), new)

    if not state.generation:
        return define()
    what = chance.choice(("define", "define", "autostart", "create", "delete", "undefine"))
    if what == "autostart":
        new = state._replace(autostart=not state.autostart)
        return Operation(name, "domain_set_autostart", (ref, int(new.autostart)), new)
    if what == "create" and kind.snapshots and len(state.snapshots) < MAX_SNAPSHOTS:
        made = f"s{next_generation}"
        new = state._replace(snapshots=(*state.snapshots, made))
        text = f"<domainsnapshot><name>{made}</name></domainsnapshot>"
        return Operation(name, "domain_snapshot_create_xml", (ref, text, 0), new)
    if what == "delete" and state.snapshots:
        gone = chance.choice(state.snapshots)
        new = state._replace(snapshots=tuple(one for one in state.snapshots if one != gone))
        return Operation(name, "domain_snapshot_delete", (NonnullDomainSnapshot(gone, ref), 0), new)
    if what == "undefine":
        flags = c.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA if kind.snapshots else 0
        return Operation(name, "domain_undefine_flags", (ref, flags), ABSENT)
    return define()


def look(kind: Kind, client: WireClient, name: str) -> State:
    """Return a domain as it is.

    Raises:
        Torn: it does not fit together.
    """
    ref = ref_of(name)
    reply = call(client, "domain_get_xml_desc", ref, c.VIR_DOMAIN_XML_INACTIVE)
    if reply.status:
        return ABSENT
    text = reply.payload[4:].rstrip(b"\0").decode()
    generation = _generation(text)
    autostart = call(client, "domain_get_autostart", ref)
    if autostart.status:
        return ABSENT  # undefined meanwhile
    if not kind.snapshots:
        return State(generation, autostart.payload != bytes(4))
    listed = call(client, "domain_snapshot_list_names", ref, 16, 0)
    if listed.status:
        return ABSENT  # undefined meanwhile
    (names,), _ = DomainSnapshotListNamesRet.unpack(listed.payload, 0)
    for snapshot in names:
        reply = call(client, "domain_snapshot_get_xml_desc", NonnullDomainSnapshot(snapshot, ref), 0)
        if not reply.status:
            _generation(reply.payload[4:].rstrip(b"\0").decode())
    return State(generation, autostart.payload != bytes(4), tuple(names))


def _generation(text: str) -> int:
    """Return the generation that all marks in a document name."""
    marks = set(_marks(text))
    if len(marks) != 1:
        raise Torn(f"generations {sorted(marks)} in one document")
    return marks.pop()


def _marks(text: str) -> Iterator[int]:
    title = re.search(r"<title>g(\d+)</title>", text)
    memory = re.search(r"<memory unit='KiB'>(\d+)</memory>", text)
    described = re.search(r"<description>([^<]*)</description>", text)
    if title is None or memory is None or described is None:
        raise Torn("a part of the document is missing")
    yield int(title[1])
    yield int(memory[1]) // 1024 - 1
    words = described[1].split()
    if len(words) != REPEATS:
        raise Torn("a part of the description is missing")
    for word in set(words):
        yield int(word[1:])
