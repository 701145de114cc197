"""What is fuzzed: each target takes bytes, and raises only if the code under test is wrong.

A target reads its input as a little program: the first bytes choose what to do, the rest is what a peer sent.
So an input that atheris found useful can be kept in ``corpus/TARGET/`` and means the same for ever.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from remotevirt.drivers.documents import LARGE
from remotevirt.drivers.domains.namespaces import stored_element
from remotevirt.drivers.test.definition import TestDefinition
from remotevirt.drivers.test.driver import TestDriver
from remotevirt.errors import VirError
from remotevirt.procedures import Program
from remotevirt.rpc.framing import FrameReader
from remotevirt.rpc.message import pack_call, parse_message, vir_error
from remotevirt.server.daemon import Daemon
from remotevirt.server.factory import ServerFactory
from remotevirt.server.limits import Limits
from remotevirt.server.linger import MOMENT
from remotevirt.stubs import admin, lxc, qemu, remote
from remotevirt.xdr import DECODE_ERRORS
from remotevirt.xml.interface import format_interface, parse_interface
from remotevirt.xml.network import format_network, parse_network, update_network
from remotevirt.xml.node_device import format_device, parse_device
from remotevirt.xml.storage_pool import format_pool, parse_pool, parse_pool_source
from remotevirt.xml.storage_volume import format_volume, parse_volume
from tests.server.fakes import Wire

__all__ = ["TARGETS", "Target"]

Target = Callable[[bytes], None]

PROGRAMS: tuple[Program, ...] = (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM, admin.PROGRAM)


def frames(data: bytes) -> None:
    """The frame reader gives the same frames and the same failure however a stream is cut."""
    if len(data) < 2:
        return
    step, descriptors, stream = data[0] + 1, bool(data[1] & 1), data[2:]
    whole, pieces = (FrameReader(4096, descriptors) for _ in range(2))
    expected = whole.feed(stream)
    found = [
        frame for start in range(0, len(stream), step) for frame in pieces.feed(stream[start : start + step])
    ]
    assert found == expected
    # What the bytes look like depends on how many have come; what is wrong with them does not.
    assert str(whole.failure).partition(": ")[0] == str(pieces.failure).partition(": ")[0]
    for frame in expected:
        assert 24 <= len(frame) <= 4096
    if whole.failure is None:
        assert whole.held == pieces.held
        assert whole.missing == pieces.missing


@cache
def _structs() -> list[Any]:
    """Every argument and result of every procedure."""
    return [
        struct_
        for program in PROGRAMS
        for procedure in program.procedures.values()
        for struct_ in (procedure.args, procedure.ret)
        if struct_ is not None
    ]


def codecs(data: bytes) -> None:
    """What decodes can be encoded, to bytes that decode to the same."""
    if len(data) < 2:
        return
    structs = _structs()
    (number,) = struct.unpack_from(">H", data)
    kind = structs[number % len(structs)]
    try:
        value, end = kind.unpack(data, 2)
    except DECODE_ERRORS:
        return
    assert end <= len(data)
    packed = value.pack()
    again, end = kind.unpack(packed, 0)
    assert end == len(packed)
    assert again == value or _has_nan(value)
    # Booleans and characters have many encodings, and one that is ours.
    assert again.pack() == packed


def _has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, (tuple, list)) and any(map(_has_nan, value))


class _Bugs:
    """Hears of exceptions that the daemon logged instead of raising."""

    def __init__(self) -> None:
        self.failure: Any = None
        globalLogPublisher.addObserver(self)

    def __call__(self, event: Any) -> None:
        if event.get("log_level") == LogLevel.critical:
            self.failure = event.get("log_failure")

    def check(self) -> None:
        """Raise what was logged."""
        failure, self.failure = self.failure, None
        if failure is not None:
            failure.raiseException()


@cache
def _bugs() -> _Bugs:
    return _Bugs()


class _Sasl:
    """A SASL service of two steps, the second of which takes any word but one."""

    mechanisms = "FAKE"
    layer = None
    username = "alice"

    def offered(self, transport: str) -> str:
        return self.mechanisms

    def begin(self, *_: Any) -> _Sasl:
        return self

    def start(self, mechanism: str, data: bytes | None) -> tuple[bool, bytes]:
        return False, b"challenge"

    def step(self, data: bytes | None) -> tuple[bool, None]:
        if data == b"no":
            raise ValueError("no")
        return True, None

    def close(self) -> None:
        pass


def dispatch(data: bytes) -> None:
    """A daemon takes any bytes: it logs no exception, and whatever it sends is whole messages."""
    if not data:
        return
    bugs = _bugs()
    clock = Clock()
    daemon = Daemon([TestDriver()], Limits(), clock)
    daemon.sasl = _Sasl()
    options = data[0]
    factory = ServerFactory(daemon.server, bool(options & 1), "tcp", auth="sasl" if options & 2 else "none")
    protocol: Any = factory.buildProtocol(None)
    wire = Wire(reads=not options & 4)
    protocol.makeConnection(wire)
    if not options & 2:
        opening = remote.ConnectOpenArgs("test:///default", 0).pack()
        protocol.dataReceived(pack_call(remote.PROGRAM.number, 1, 1, 0, opening))
    step = 1 + (options >> 3) * 16
    for start in range(1, len(data), step):
        if not wire.disconnecting:
            protocol.dataReceived(data[start : start + step])
            clock.advance(MOMENT)
    wire.read()
    clock.advance(1)
    protocol.connectionLost()
    reader = FrameReader()
    for frame in reader.feed(bytes(wire.received)):
        message = parse_message(frame)
        if message.kind.name == "ERROR":
            error = vir_error(message.payload)
            assert len((error.message or "").encode()) <= 1024
            assert "unexpected failure" not in (error.message or "")
    assert reader.failure is None
    assert not reader.held or options & 4
    assert not daemon.clients
    bugs.check()


def _network_update(text: str) -> None:
    base = parse_network("<network><name>n</name><ip address='10.0.0.1' prefix='8'/></network>")
    command, section = ord(text[0]) % 6, ord(text[1]) % 16
    format_network(update_network(base, command, section, -1, text[2:]))


def _domain(text: str) -> None:
    definition = TestDefinition.parse(text)
    first = definition.format(1, -1)
    definition.copy().format(0, 7)
    try:
        TestDefinition.parse(first).format(1, -1)
    except VirError as error:
        raise AssertionError(f"what was printed is refused: {error}") from error


def _metadata(text: str) -> None:
    stored_element(text, "urn:x", "p")


_DOCUMENTS: tuple[Callable[[str], Any], ...] = (
    _domain,
    lambda text: format_network(parse_network(text)),
    lambda text: _network_update(text) if len(text) > 2 else None,
    lambda text: format_pool(parse_pool(text)),
    lambda text: parse_pool_source(text, "netfs"),
    lambda text: format_volume(parse_volume(text, "dir")),
    lambda text: format_volume(parse_volume(text, "logical")),
    lambda text: format_interface(parse_interface(text)),
    lambda text: format_device(parse_device(text, new=True)),
    lambda text: TestDefinition.parse(text, validate=True),
    _metadata,
)
"""What documents are read by; the first byte of an input chooses. New ones go to the end."""


def documents(data: bytes) -> None:
    """A document is taken or refused with a libvirt error; what is taken can be printed, and read again."""
    if not data or len(data) > LARGE:
        return
    text = data[1:].decode("utf-8", "surrogateescape")
    try:
        _DOCUMENTS[data[0] % len(_DOCUMENTS)](text)
    except VirError as error:
        assert error.message


def sasl(data: bytes) -> None:
    """SASL messages in any order are answered or refused, and let nobody in who has no password."""
    from tests.auth.fakes import World

    if len(data) < 2:
        return
    world = World()
    exchange = world.begin()
    mechanism = ("SCRAM-SHA-256", "PLAIN", "SCRAM-SHA-1", "GSSAPI")[data[0] % 4]
    messages = data[1:].split(b"\xff")
    answers: list[Deferred[Any]] = [exchange.start(mechanism, messages[0])]
    answers += [exchange.step(message or None) for message in messages[1:8]]
    for answer in answers:
        outcome: list[Any] = []
        answer.addBoth(outcome.append)
        if outcome and not hasattr(outcome[0], "value"):
            assert not outcome[0][0] or b"pencil" in data or b"password" in data, outcome
    exchange.close()
    _bugs().check()


TARGETS: dict[str, Target] = {
    "frames": frames,
    "codecs": codecs,
    "dispatch": dispatch,
    "documents": documents,
}
"""All targets by name."""

if find_spec("remotevirt.auth") is not None:
    TARGETS["sasl"] = sasl
