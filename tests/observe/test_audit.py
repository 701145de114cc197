"""The audit trail's lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from remotevirt.identity import Identity
from remotevirt.observe import audit as module
from remotevirt.observe.audit import AuditTracer, open_sink
from remotevirt.observe.facts import changes
from remotevirt.observe.sinks import FileSink
from remotevirt.server.trace import Call
from remotevirt.stubs import admin, remote
from remotevirt.stubs import constants as vir
from remotevirt.stubs.errors import AccessDenied, InternalError, NoDomain, OperationDenied
from remotevirt.stubs.remote import NonnullSecret
from tests.observe.fakes import DOMAIN, DOMAIN_UUID, FakeClient, make_call, payload_of

NOON = 1_772_356_500.2504
ASTRAL = "\U0001f4a5"  # twelve bytes of JSON


class MemorySink:
    """Keeps lines; fails as long as ``error`` is set."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.fields: list[Mapping[str, str]] = []
        self.error: OSError | None = None
        self.opened = 0
        self.closed = 0

    def write(self, line: str, fields: Mapping[str, str]) -> None:
        if self.error is not None:
            raise self.error
        self.lines.append(line)
        self.fields.append(fields)

    def reopen(self) -> None:
        self.opened += 1
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1


class AuditTests(TestCase):
    """What is written, and what never is."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sink = MemorySink()
        self.tracer = AuditTracer(self.sink, self.clock, lambda: NOON)

    def line(self) -> dict[str, Any]:
        """The only line."""
        (line,) = self.sink.lines
        self.assertNotIn("\n", line)
        found: dict[str, Any] = json.loads(line)
        return found

    def test_change(self) -> None:
        call = make_call("domain_create_with_flags", DOMAIN, 2, latency=0.0012041)
        self.tracer.call_finished(call, payload_of(call, DOMAIN))
        self.assertEqual(
            {
                "time": "2026-03-01T09:15:00.250Z",
                "event": "call",
                "outcome": "ok",
                "who": {
                    "name": "C=GB,O=Example,CN=alice",
                    "transport": "tls",
                    "address": "192.0.2.7;40000",
                    "dn": "C=GB,O=Example,CN=alice",
                },
                "client": 7,
                "server": "libvirtd",
                "listener": "tls:16514",
                "readonly": False,
                "program": "remote",
                "procedure": "domain_create_with_flags",
                "object": {"kind": "domain", "name": "web", "uuid": DOMAIN_UUID},
                "flags": 2,
                "latency_ms": 1.204,
            },
            self.line(),
        )
        self.assertEqual([{"outcome": "ok", "procedure": "domain_create_with_flags"}], self.sink.fields)

    def test_local_client(self) -> None:
        client = FakeClient(identity=Identity("unix", uid=0, gid=0, pid=12, sasl="alice"), readonly=True)
        self.tracer.call_finished(make_call("domain_destroy", DOMAIN, client=client), b"")
        line = self.line()
        self.assertEqual(
            ("alice", 0, 0, 12), tuple(line["who"][key] for key in ("name", "uid", "gid", "pid"))
        )
        self.assertTrue(line["readonly"])

    def test_what_was_made(self) -> None:
        """The object of a definition is known by its answer."""
        call = make_call("domain_define_xml", "<domain/>")
        self.tracer.call_finished(call, payload_of(call, DOMAIN))
        self.assertEqual({"kind": "domain", "name": "web", "uuid": DOMAIN_UUID}, self.line()["object"])

    def test_what_was_not_made(self) -> None:
        self.tracer.call_failed(make_call("domain_define_xml", "<domain/>"), InternalError("no"))
        line = self.line()
        self.assertEqual(("error", {"kind": "domain"}), (line["outcome"], line["object"]))
        self.assertEqual({"code": 1, "name": "VIR_ERR_INTERNAL_ERROR"}, line["error"])

    def test_looking_is_not_written(self) -> None:
        call = make_call("domain_get_xml_desc", DOMAIN, 0)
        self.tracer.call_finished(call, payload_of(call, "<domain/>"))
        self.tracer.call_failed(call, NoDomain("no"))
        self.tracer.call_cancelled(call)
        self.tracer.call_failed(make_call("no_such_procedure"), InternalError("no"))
        self.assertEqual([], self.sink.lines)

    def test_looking_at_secrets_is(self) -> None:
        call = make_call("domain_get_xml_desc", DOMAIN, vir.VIR_DOMAIN_XML_SECURE)
        self.tracer.call_finished(call, payload_of(call, "<domain/>"))
        self.assertEqual(vir.VIR_DOMAIN_XML_SECURE, self.line()["flags"])

    def test_refused(self) -> None:
        """Whatever it would have done."""
        for error in (AccessDenied("no"), OperationDenied("no")):
            self.sink.lines.clear()
            self.tracer.call_failed(make_call("domain_get_info", DOMAIN), error)
            line = self.line()
            self.assertEqual(("denied", "web"), (line["outcome"], line["object"]["name"]))

    def test_refused_before_it_was_known(self) -> None:
        self.tracer.call_failed(make_call("no_such_procedure"), AccessDenied("no"))
        line = self.line()
        self.assertEqual((None, "0x20008086/9999"), (line["program"], line["procedure"]))

    def test_cancelled(self) -> None:
        self.tracer.call_cancelled(make_call("domain_shutdown", DOMAIN))
        self.assertEqual("cancelled", self.line()["outcome"])

    def test_arguments_that_do_not_decode(self) -> None:
        call = Call(FakeClient(), make_call("domain_destroy", DOMAIN).frame[:30], 0.0)
        call.program, call.procedure = remote.PROGRAM, remote.PROGRAM.by_name["domain_destroy"]
        self.tracer.call_failed(call, InternalError("no"))
        self.assertEqual({"kind": "domain"}, self.line()["object"])

    def test_turned_away(self) -> None:
        self.tracer.client_refused("192.0.2.9;5\n", "authentication: no such user")
        line = self.line()
        self.assertEqual(("refused", "denied"), (line["event"], line["outcome"]))
        self.assertEqual(
            ("192.0.2.9;5\\n", "authentication: no such user"), (line["address"], line["reason"])
        )

    def test_flood_of_strangers(self) -> None:
        """Some lines, then one a second, which says how many are missing; other reasons have their own."""
        for port in range(1000):
            self.tracer.client_refused(f"192.0.2.9;{port}", "limit: 9 clients are connected")
        self.assertEqual(module.REFUSALS_MAXIMUM, len(self.sink.lines))
        self.tracer.client_refused("192.0.2.8;1", "tls: the certificate has expired")
        self.assertEqual("192.0.2.8;1", json.loads(self.sink.lines[-1])["address"])
        self.clock.advance(module.REFUSAL_SECONDS)
        self.tracer.client_refused("192.0.2.9;1", "limit: 9 clients are connected")
        self.assertEqual(1000 - module.REFUSALS_MAXIMUM, json.loads(self.sink.lines[-1])["left_out"])

    def test_admin_program(self) -> None:
        client = admin.NonnullClient(admin.NonnullServer("libvirtd"), 9, 0, 0)
        self.tracer.call_finished(make_call("client_close", client, 0, program=admin.PROGRAM), b"")
        self.assertEqual({"kind": "client", "server": {"name": "libvirtd"}, "id": 9}, self.line()["object"])

    def test_no_secrets(self) -> None:
        """Nothing but the object and the flags comes from arguments and results."""
        secret = NonnullSecret(bytes(16), 1, "disk")
        calls = [
            make_call("secret_set_value", secret, b"HIDDEN", 0),
            make_call("domain_set_user_password", DOMAIN, "root", "HIDDEN", 0),
            make_call("domain_define_xml", "<graphics passwd='HIDDEN'/>"),
            make_call("domain_send_key", DOMAIN, 0, 0, [72, 73], 0),
        ]
        for call in calls:
            self.tracer.call_failed(call, InternalError("HIDDEN"))
        value = make_call("secret_get_value", secret, 0)
        self.tracer.call_finished(value, payload_of(value, b"HIDDEN"))
        self.assertEqual(5, len(self.sink.lines))
        self.assertNotIn("HIDDEN", "".join(self.sink.lines))
        keys, secret_read = (json.loads(line) for line in self.sink.lines[3:])
        self.assertEqual({"kind", "name", "uuid"}, set(keys["object"]))
        uuid = "00000000-0000-0000-0000-000000000000"
        self.assertEqual({"kind": "secret", "uuid": uuid, "usage": "disk"}, secret_read["object"])

    def test_names_are_escaped(self) -> None:
        name = 'a"\n\x1b{}\u2028' + "\\"
        self.tracer.call_finished(make_call("domain_destroy", DOMAIN._replace(name=name)), b"")
        self.assertEqual('a"\\n\\x1b{}\\u2028\\', self.line()["object"]["name"])
        self.assertTrue(self.sink.lines[0].isascii())

    def test_lines_are_bounded(self) -> None:
        """Whatever a peer can make long is long."""
        long = ASTRAL * 100_000
        identity = Identity("tls", long, dn=long, sasl=long)
        client = FakeClient(identity=identity, listener=long)
        volume = remote.NonnullStorageVol(long[:1000], long[:1000], long[:1000])
        call = make_call("storage_vol_wipe", volume, 0, client=client)
        self.tracer.call_finished(call, b"")
        self.assertLess(len(self.sink.lines[0]), 32 * 1024)
        self.assertEqual(256, len(self.line()["object"]["name"]))

    def test_every_change_has_a_line(self) -> None:
        """And no other call: the trail agrees with the contract for every procedure."""
        expected = []
        for name, procedure in remote.PROGRAM.by_name.items():
            if procedure.event:
                continue
            call = Call(FakeClient(), make_call("x").frame, 0.0)
            call.program, call.procedure = remote.PROGRAM, procedure
            self.tracer.call_failed(call, NoDomain("no"))
            if changes(procedure, None):
                expected.append(name)
        self.assertEqual(expected, [json.loads(line)["procedure"] for line in self.sink.lines])
        self.assertGreater(len(expected), 150)


class FailingTests(TestCase):
    """What happens when lines cannot be written."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sink = MemorySink()
        self.tracer = AuditTracer(self.sink, self.clock)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def complaints(self) -> int:
        return sum("audit trail cannot" in (event.get("log_format") or "") for event in self.events)

    def destroy(self) -> None:
        self.tracer.call_finished(make_call("domain_destroy", DOMAIN), b"")

    def test_lines_are_counted(self) -> None:
        self.destroy()
        self.sink.error = OSError(28, "No space left on device")
        self.destroy()
        self.destroy()
        self.sink.error = None
        self.destroy()
        self.assertEqual((2, 2), self.tracer.counts())

    def test_said_once_in_a_while(self) -> None:
        self.sink.error = OSError(28, "No space left on device")
        for _ in range(100):
            self.destroy()
        self.assertEqual(1, self.complaints())
        self.clock.advance(module.COMPLAIN_SECONDS)
        self.destroy()
        self.assertEqual(2, self.complaints())

    def test_reopening_fails(self) -> None:
        self.sink.error = OSError(2, "No such file or directory")
        self.tracer.reopen()
        self.assertEqual((1, 1), (self.sink.opened, self.complaints()))

    def test_close(self) -> None:
        self.tracer.close()
        self.assertEqual(1, self.sink.closed)


class OpenTests(TestCase):
    """``audit_file``."""

    def test_path(self) -> None:
        sink = open_sink(self.mktemp(), Clock())
        self.addCleanup(sink.close)
        self.assertIsInstance(sink, FileSink)

    def test_impossible_path(self) -> None:
        self.assertRaises(OSError, open_sink, f"{self.mktemp()}/no/such", Clock())
