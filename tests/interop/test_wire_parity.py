"""The same bytes to a real libvirtd and to remotevirt; the decoded answers compared.

The table of calls is what one connection may ask about the test driver's world; the tables of oddities are
what a broken or hostile client sends. Where remotevirt differs on purpose, :data:`DELIBERATE` says so and
why; a difference that is not in it fails, and so does one in it that has gone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs import remote
from remotevirt.stubs.remote import NonnullDomain, TypedParam, TypedParamValue
from tests.interop.pair import CLOSED, Outcome, Pair, arguments, outcome_of
from tests.wire import (
    CALL,
    CONNECT_OPEN,
    CONTINUE,
    ERROR,
    KEEPALIVE,
    MESSAGE,
    REMOTE,
    REPLY,
    Closed,
    WireClient,
    pack_string,
)

TEST_UUID = bytes.fromhex("6695eb01f6a4830479aa97f2502e193f")
TEST = NonnullDomain("test", TEST_UUID, 1)
STALE = NonnullDomain("another name", TEST_UUID, 77)
UNKNOWN = NonnullDomain("nothing", bytes(range(16)), 5)
GUEST_UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
GUEST = NonnullDomain("guest", bytes.fromhex(GUEST_UUID.replace("-", "")), -1)
GUEST_XML = (
    f"<domain type='test'><name>guest</name><uuid>{GUEST_UUID}</uuid><memory>65536</memory><vcpu>2</vcpu>"
    "<os><type>hvm</type></os></domain>"
)
WEIGHT = [TypedParam("weight", TypedParamValue(2, 60))]
GET_VERSION = 4
PROBE = 4242
"""The serial of a call that only shows that the connection lives."""

Answer = Outcome | str

READING: list[tuple[Any, ...]] = [
    ("connect_get_type",),
    ("connect_get_version",),
    ("connect_get_lib_version",),
    ("connect_get_hostname",),
    ("connect_get_uri",),
    ("connect_get_capabilities",),
    ("connect_get_sysinfo", 0),
    ("connect_get_max_vcpus", None),
    ("connect_get_max_vcpus", "test"),
    ("connect_is_secure",),
    ("connect_num_of_domains",),
    ("connect_num_of_defined_domains",),
    ("connect_list_domains", 10),
    ("connect_list_domains", 0),
    ("connect_list_defined_domains", 10),
    *(("connect_list_all_domains", 1, 1 << bit) for bit in range(16)),
    ("connect_list_all_domains", 0, 0),
    ("connect_list_all_domains", 1, 0),
    ("connect_list_all_domains", 1, 1 << 30),
    *(("connect_supports_feature", feature) for feature in range(20)),
    ("connect_get_cpu_model_names", "x86_64", 0, 0),
    ("connect_get_cpu_model_names", "nonsense", 1, 0),
    ("connect_get_all_domain_stats", [], 0, 0),
    ("connect_get_all_domain_stats", [TEST], 1, 0),
    ("connect_get_domain_capabilities", None, None, None, None, 0),
    ("node_get_info",),
    ("node_get_free_memory",),
    ("node_get_cells_free_memory", 0, 2),
    ("node_get_cells_free_memory", 1, 8),
    ("node_get_cpu_stats", -1, 0, 0),
    ("node_get_cpu_stats", 1, 4, 0),
    ("node_get_memory_stats", 2, -1, 0),
    ("node_get_memory_parameters", 0, 0),
    ("node_get_cpu_map", 1, 1, 0),
    ("node_get_security_model",),
    ("domain_lookup_by_id", 1),
    ("domain_lookup_by_id", 2),
    ("domain_lookup_by_name", "test"),
    ("domain_lookup_by_name", "nothing"),
    ("domain_lookup_by_name", ""),
    ("domain_lookup_by_uuid", TEST_UUID),
    ("domain_lookup_by_uuid", bytes(16)),
    ("domain_get_info", TEST),
    ("domain_get_info", STALE),
    ("domain_get_info", UNKNOWN),
    ("domain_get_state", TEST, 0),
    ("domain_get_state", TEST, 1),
    ("domain_get_state", UNKNOWN, 0),
    ("domain_get_control_info", TEST, 0),
    ("domain_get_xml_desc", TEST, 0),
    ("domain_get_xml_desc", TEST, 1),
    ("domain_get_xml_desc", TEST, 2),
    ("domain_get_xml_desc", TEST, 8),
    ("domain_get_xml_desc", TEST, 1 << 20),
    ("domain_get_os_type", TEST),
    ("domain_get_max_memory", TEST),
    ("domain_get_max_vcpus", TEST),
    ("domain_get_vcpus_flags", TEST, 0),
    ("domain_get_vcpus_flags", TEST, 1),
    ("domain_get_vcpus_flags", TEST, 6),
    ("domain_get_autostart", TEST),
    ("domain_is_active", TEST),
    ("domain_is_persistent", TEST),
    ("domain_is_updated", TEST),
    ("domain_is_active", UNKNOWN),
    ("domain_has_managed_save_image", TEST, 0),
    ("domain_get_hostname", TEST, 0),
    ("domain_get_scheduler_type", TEST),
    ("domain_get_scheduler_parameters", TEST, 1),
    ("domain_get_scheduler_parameters", TEST, 0),
    ("domain_get_scheduler_parameters_flags", TEST, 1, 0),
    ("domain_get_metadata", TEST, 0, None, 0),
    ("domain_get_metadata", TEST, 1, None, 0),
    ("domain_get_metadata", TEST, 2, "http://example.org/ns", 0),
    ("domain_get_metadata", TEST, 9, None, 0),
    ("domain_block_peek", TEST, "vda", 0, 16, 0),
    ("domain_open_console", TEST, None, 0),
    ("domain_migrate_get_max_speed", TEST, 0),
    ("qemu_no_such",),
]
"""Calls that change nothing: procedure, then the fields of its arguments."""

CHANGING: list[tuple[Any, ...]] = [
    ("domain_define_xml", GUEST_XML),
    ("domain_define_xml", GUEST_XML),
    ("domain_define_xml_flags", GUEST_XML, 1),
    ("domain_define_xml_flags", GUEST_XML, 1 << 9),
    ("domain_define_xml", GUEST_XML.replace("guest", "test")),
    ("domain_define_xml", GUEST_XML.replace(GUEST_UUID, "6695eb01-f6a4-8304-79aa-97f2502e193f")),
    ("domain_define_xml", "<domain"),
    ("domain_define_xml", "<network/>"),
    ("domain_define_xml", "<domain type='test'/>"),
    ("domain_define_xml", "<domain type='nonsense'><name>x</name></domain>"),
    ("domain_get_xml_desc", GUEST, 0),
    ("domain_get_state", GUEST, 0),
    ("domain_suspend", GUEST),
    ("domain_resume", GUEST),
    ("domain_shutdown", GUEST),
    ("domain_reboot", GUEST, 0),
    ("domain_destroy", GUEST),
    ("domain_set_autostart", GUEST, 1),
    ("domain_get_autostart", GUEST),
    ("domain_create", GUEST),
    ("domain_create", GUEST),
    ("domain_lookup_by_name", "guest"),
    ("domain_undefine", GUEST),
    ("domain_lookup_by_name", "guest"),
    ("domain_define_xml", GUEST_XML),
    ("domain_suspend", GUEST),
    ("domain_get_state", GUEST, 0),
    ("domain_suspend", GUEST),
    ("domain_get_state", GUEST, 0),
    ("domain_resume", GUEST),
    ("domain_set_memory", GUEST, 4096),
    ("domain_set_memory", GUEST, 0),
    ("domain_set_memory", GUEST, 1 << 40),
    ("domain_set_max_memory", GUEST, 131072),
    ("domain_set_vcpus", GUEST, 1),
    ("domain_set_vcpus", GUEST, 99),
    ("domain_set_vcpus_flags", GUEST, 0, 0),
    ("domain_set_scheduler_parameters", GUEST, WEIGHT),
    ("domain_set_scheduler_parameters_flags", GUEST, WEIGHT, 0),
    ("domain_set_metadata", GUEST, 1, "a title", None, None, 0),
    ("domain_set_metadata", GUEST, 1, "two\nlines", None, None, 0),
    ("domain_set_metadata", GUEST, 2, "<x/>", "k", "http://example.org/k", 0),
    ("domain_get_metadata", GUEST, 2, "http://example.org/k", 0),
    ("domain_rename", GUEST, "renamed", 0),
    ("domain_shutdown", GUEST),
    ("domain_get_state", GUEST, 0),
    ("domain_rename", GUEST, "renamed", 0),
    ("domain_rename", GUEST, "test", 0),
    ("domain_create_with_flags", GUEST, 1),
    ("domain_create_with_flags", GUEST, 1),
    ("domain_create_with_flags", GUEST, 1 << 12),
    ("domain_reset", GUEST, 0),
    ("domain_destroy_flags", GUEST, 1),
    ("domain_destroy_flags", GUEST, 8),
    ("domain_undefine_flags", GUEST, 1 << 15),
    ("domain_undefine_flags", GUEST, 1),
    ("domain_undefine", GUEST),
    ("domain_create_xml", GUEST_XML, 0),
    ("domain_create_xml", GUEST_XML, 0),
    ("domain_is_persistent", GUEST),
    ("domain_set_autostart", GUEST, 1),
    ("domain_destroy", GUEST),
    ("domain_get_info", GUEST),
    ("domain_create_xml", GUEST_XML, 1 << 18),
]
"""Calls that change the world, one after the other on both daemons."""

DELIBERATE: dict[str, str] = {}
"""Label of a comparison -> why remotevirt answers otherwise there."""


def label(name: str, *fields: Any) -> str:
    """A call as text."""
    return f"{name}({', '.join(map(_short, fields))})"


def _short(field: Any) -> str:
    text = field.name if isinstance(field, NonnullDomain) else repr(field)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Differences:
    """Collects what differs, and fails the test with all of it at once."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.case = case
        self.found: dict[str, str] = {}
        self.compared = 0

    def compare(self, name: str, answers: tuple[object, object]) -> None:
        """Note one comparison: libvirtd's answer and ours."""
        libvirtd, ours = answers
        self.compared += 1
        if libvirtd != ours:
            self.found[name] = f"{name}\n    libvirtd   {libvirtd}\n    remotevirt {ours}"

    def check(self, expected: dict[str, str] | None = None) -> None:
        """Fail if anything differs that is not expected to, or the other way round."""
        self.case.assertGreater(self.compared, 0)
        expected = expected or {}
        lines = [text for name, text in self.found.items() if name not in expected]
        lines += [f"{name}: no longer differs" for name in expected if name not in self.found]
        if lines:
            self.case.fail(f"{len(lines)} of {self.compared} comparisons:\n" + "\n".join(lines))


class CallTests(SynchronousTestCase):
    """Well-formed calls."""

    def test_reading(self) -> None:
        """Calls about connection, host and domain give the same values and the same errors."""
        pair, differences = Pair(self), Differences(self)
        for name, *fields in READING:
            if name in remote.PROGRAM.by_name:
                differences.compare(label(name, *fields), pair.call(name, *fields))
        differences.check(DELIBERATE)

    def test_changing(self) -> None:
        """A guest's life, misuse included, gives the same answers at every step."""
        pair, differences = Pair(self), Differences(self)
        for step, (name, *fields) in enumerate(CHANGING):
            differences.compare(f"{step}: {label(name, *fields)}", pair.call(name, *fields))
        differences.check()

    def test_readonly(self) -> None:
        """On the read-only socket the same calls are allowed, the same refused, in the same words."""
        pair, differences = Pair(self), Differences(self)
        for name, *fields in [*READING, *CHANGING]:
            if name in remote.PROGRAM.by_name:
                answers = pair.call(name, *fields, readonly=True)
                differences.compare(label(name, *fields), answers)
        differences.check(DELIBERATE)

    def test_readonly_socket_beats_flags(self) -> None:
        """Who asks for a read-write connection on the read-only socket still may not change anything."""

        def exchange(client: WireClient) -> Outcome:
            client.open(flags=0)
            number = remote.PROGRAM.by_name["domain_destroy"].number
            return outcome_of(client.call(REMOTE, number, arguments("domain_destroy", TEST)))

        libvirtd, ours = Pair(self).each(exchange, readonly=True)
        self.assertEqual(libvirtd, ours)
        assert isinstance(ours, Outcome)
        self.assertEqual(ours.status, ERROR)


def _send(**fields: Any) -> Callable[[WireClient], Answer]:
    """An exchange: open, then one message with odd fields; its answer."""

    def exchange(client: WireClient) -> Answer:
        client.open()
        program = fields.get("program", REMOTE)
        procedure = fields.get("procedure", GET_VERSION)
        payload = fields.get("payload", b"")
        odd = {key: value for key, value in fields.items() if key in ("version", "type", "serial", "status")}
        client.send(program, procedure, payload, **odd)
        return _answer(client)

    return exchange


def _answer(client: WireClient) -> Answer:
    """What comes before the reply to a call that follows, which shows that the connection lives."""
    answers: list[Answer] = []
    try:
        client.send(REMOTE, GET_VERSION, serial=PROBE)
        while (frame := client.receive()).serial != PROBE:
            answers.append(outcome_of(frame))
    except Closed:
        answers.append(CLOSED)
    assert len(answers) <= 1, answers
    return answers[0] if answers else "no answer"


ODD_MESSAGES: dict[str, Callable[[WireClient], Answer]] = {
    "unknown program": _send(program=0x20008099),
    "program 0": _send(program=0),
    "version 0": _send(version=0),
    "version 2": _send(version=2),
    "qemu program, version 2": _send(program=0x20008087, version=2),
    "procedure 0": _send(procedure=0),
    "procedure 9999": _send(procedure=9999),
    "procedure -1": _send(procedure=0xFFFFFFFF),
    "qemu procedure 99": _send(program=0x20008087, procedure=99),
    "lxc procedure 99": _send(program=0x00068000, procedure=99),
    "an event as a call": _send(procedure=remote.PROGRAM.by_name["domain_event_lifecycle"].number),
    "a reply": _send(type=REPLY),
    "a message": _send(type=MESSAGE),
    "type 7": _send(type=7),
    "type 99": _send(type=99),
    "type -1": _send(type=0xFFFFFFFF),
    "status error": _send(status=ERROR),
    "status continue": _send(status=CONTINUE),
    "status 77": _send(status=77),
    "a large serial": _send(serial=0xFFFFFFFF),
    "no arguments": _send(procedure=23),
    "half a length": _send(procedure=23, payload=b"\0\0"),
    "a string that ends early": _send(procedure=23, payload=pack_string("test")[:6]),
    "a string over its bound": _send(procedure=23, payload=struct.pack(">I", 4194305) + b"xxxx"),
    "a string of 4 GiB": _send(procedure=23, payload=b"\xff\xff\xff\xff"),
    "arguments where there are none": _send(procedure=GET_VERSION, payload=b"\0" * 64),
    "bytes behind the arguments": _send(procedure=23, payload=pack_string("test") + b"more bytes.."),
    "padding that is not zero": _send(procedure=23, payload=b"\0\0\0\5test!\x01\x02\x03"),
    "an array over its bound": _send(
        procedure=remote.PROGRAM.by_name["connect_get_all_domain_stats"].number,
        payload=struct.pack(">I", 0x7FFFFFFF),
    ),
    "an optional word of 0x01000000": _send(
        procedure=5, payload=struct.pack(">I", 0x01000000) + pack_string("test")
    ),
    "an unknown typed parameter": _send(
        procedure=remote.PROGRAM.by_name["domain_set_scheduler_parameters"].number,
        payload=TEST.pack() + struct.pack(">I", 1) + pack_string("weight") + struct.pack(">II", 99, 1),
    ),
    "a stream packet for no stream": _send(type=3, status=CONTINUE, payload=b"data", serial=9),
    "a stream's end for no stream": _send(type=3, serial=9),
    "a hole for no stream": _send(type=6, status=CONTINUE, payload=bytes(12), serial=9),
    "keepalive ping": _send(program=KEEPALIVE, procedure=1, type=MESSAGE, serial=0),
    "keepalive pong": _send(program=KEEPALIVE, procedure=2, type=MESSAGE, serial=0),
    "keepalive procedure 3": _send(program=KEEPALIVE, procedure=3, type=MESSAGE, serial=0),
    "keepalive ping as a call": _send(program=KEEPALIVE, procedure=1, type=CALL, serial=0),
    "keepalive version 2": _send(program=KEEPALIVE, procedure=1, type=MESSAGE, serial=0, version=2),
    "keepalive ping with a payload": _send(
        program=KEEPALIVE, procedure=1, type=MESSAGE, serial=0, payload=b"data"
    ),
}
"""Messages that no libvirt client sends, on an opened connection."""

ODD_DELIBERATE: dict[str, str] = {}


def _first(procedure: int, payload: bytes = b"") -> Callable[[WireClient], Answer]:
    """An exchange: one call as the very first."""

    def exchange(client: WireClient) -> Answer:
        return outcome_of(client.call(REMOTE, procedure, payload))

    return exchange


def _open(uri: str | None, flags: int = 0) -> Callable[[WireClient], Answer]:
    """An exchange: open a connection, look whether it is open."""
    name = struct.pack(">I", 0) if uri is None else struct.pack(">I", 1) + pack_string(uri)

    def exchange(client: WireClient) -> Answer:
        opened = outcome_of(client.call(REMOTE, CONNECT_OPEN, name + struct.pack(">I", flags)))
        after = outcome_of(client.call(REMOTE, GET_VERSION))
        return f"{opened}, then {after}"

    return exchange


def _open_twice(client: WireClient) -> Answer:
    client.open()
    payload = struct.pack(">I", 1) + pack_string("test:///default") + struct.pack(">I", 0)
    again = outcome_of(client.call(REMOTE, CONNECT_OPEN, payload))
    return f"{again}, then {outcome_of(client.call(REMOTE, GET_VERSION))}"


def _close_and_call(client: WireClient) -> Answer:
    client.open()
    closed = outcome_of(client.call(REMOTE, 2))
    return f"{closed}, then {outcome_of(client.call(REMOTE, GET_VERSION))}"


OPENINGS: dict[str, Callable[[WireClient], Answer]] = {
    "auth_list first": _first(66),
    "a call first": _first(GET_VERSION),
    "a call with bad arguments first": _first(23),
    "feature 10 first": _first(60, struct.pack(">i", 10)),
    "feature 14 first": _first(60, struct.pack(">i", 14)),
    "close first": _first(2),
    "sasl, which is not offered": _first(67),
    "polkit, which is not offered": _first(70),
    "open": _open("test:///default"),
    "open read-only": _open("test:///default", 1),
    "open with unknown flags": _open("test:///default", 1 << 10),
    "open another driver": _open("nonsense:///x"),
    "open without a scheme": _open("default"),
    "open nothing": _open(""),
    "open a node that is not there": _open("test:///no/such/file.xml"),
    "open without a path": _open("test://"),
    "open twice": _open_twice,
    "close, then call": _close_and_call,
}
"""First messages of a connection."""

OPENINGS_DELIBERATE: dict[str, str] = {
    "a call with bad arguments first": "whether a client may call is settled before its arguments are read",
    "polkit, which is not offered": "libvirtd's error says nothing; ours says that authentication failed",
    "open nothing": "an empty URI means the first driver's default, as it does to virsh",
    "open twice": "libvirtd 9.0.0 refuses the second and loses the first with it; ours keeps the first",
}


class OddTests(SynchronousTestCase):
    """What no client should send."""

    def test_odd_messages(self) -> None:
        """Each odd message gets libvirtd's answer, and the connection lives on where libvirtd's does."""
        pair, differences = Pair(self), Differences(self)
        for name, exchange in ODD_MESSAGES.items():
            differences.compare(name, pair.each(exchange))
        differences.check(ODD_DELIBERATE)

    def test_openings(self) -> None:
        """Connections that begin in some other way than clients begin them."""
        pair, differences = Pair(self), Differences(self)
        for name, exchange in OPENINGS.items():
            differences.compare(name, pair.each(exchange))
        differences.check(OPENINGS_DELIBERATE)
