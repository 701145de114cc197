"""Calls that are wrong themselves: each is answered on its serial, and the connection lives on."""

from __future__ import annotations

import os
from typing import Any

from remotevirt.rpc.message import Kind, pack_call, pack_message, pack_stream, vir_error
from remotevirt.stubs import remote
from remotevirt.stubs.remote import (
    DomainLookupByNameArgs,
)
from remotevirt.xdr import DECODE_ERRORS
from tests.server.dispatching import GET_VERSION, NUMBER, RPC, DispatchCase
from tests.server.fakes import DOMAIN


class WrongCallTests(DispatchCase):
    """Calls that are wrong themselves."""

    def test_unknown_program(self) -> None:
        """Numbers as C prints them."""
        for number, shown in ((0, 0), (0x20008085, 0x20008085), (0xFFFFFFFF, -1), (0x80000000, -(1 << 31))):
            self.assert_refused(pack_call(number, 1, 1, 5), 5, RPC, f"Cannot find program {shown} version 1")

    def test_unknown_version(self) -> None:
        """Of a program that is known."""
        for version, shown in ((0, 0), (2, 2), (0xFFFFFFFF, -1)):
            self.assert_refused(
                pack_call(NUMBER, version, GET_VERSION, 5),
                5,
                RPC,
                f"Cannot find program {NUMBER} version {shown}",
            )

    def test_unknown_procedure(self) -> None:
        """None, one past the last, negative ones."""
        for procedure in (0, 457, 99999, -1, -(1 << 31), (1 << 31) - 1):
            self.assert_refused(pack_call(NUMBER, 1, procedure, 6), 6, RPC, f"unknown procedure: {procedure}")

    def test_events_are_not_called(self) -> None:
        """The number of an event is unknown to a call."""
        for procedure in remote.PROGRAM.procedures.values():
            if procedure.event:
                number = procedure.number
                self.assert_refused(pack_call(NUMBER, 1, number, 7), 7, RPC, f"unknown procedure: {number}")

    def test_the_admin_program_is_not_served_here(self) -> None:
        """It has its own socket."""
        error = self.refused(pack_call(0x06900690, 1, 1, 5), 5)
        self.assertEqual(39, error.code)

    def test_wrong_status(self) -> None:
        """A call that says error, continue or nonsense; also when the procedure has been called before."""
        for status in (1, 2, 99):
            for procedure in (GET_VERSION, 16):
                self.assert_refused(
                    pack_message(NUMBER, 1, procedure, 0, 8, status),
                    8,
                    RPC,
                    f"Unexpected message status {status}",
                )

    def test_what_is_no_call(self) -> None:
        """Replies, events, stream packets and unknown types get no answer, and harm nothing."""
        for type_ in (1, 2, 3, 6, 7, 99, -1, 0x100, -(1 << 31)):
            for status in (0, 1, 2):
                self.client.send(pack_message(NUMBER, 1, GET_VERSION, type_, 9, status, b"data"))
                self.client.send(pack_message(12345, 7, 99999, type_, 9, status))
        self.client.send(pack_stream(NUMBER, 1, GET_VERSION, 10, b"late data"))
        self.assertEqual([], self.client.take())
        self.assert_lives()

    def test_undecodable_arguments(self) -> None:
        """Cut at any byte, over a bound, no text: error 39; the driver hears nothing of it."""
        called: list[Any] = []
        self.hypervisor.domain_lookup_by_name = called.append
        whole = DomainLookupByNameArgs("name").pack()
        wrong = [whole[:size] for size in range(len(whole))]
        wrong += [b"\xff\xff\xff\xff", b"\0\0\0\2a\0\0\0", b"\0\0\0\1\xff\0\0\0", b"\0\x40\0\1" + bytes(64)]
        for payload in wrong:
            self.assert_refused(
                pack_call(NUMBER, 1, 23, 11, payload), 11, RPC, "Unable to decode message payload"
            )
        self.assertEqual([], called)

    def test_undecodable_arguments_of_every_call(self) -> None:
        """No call takes arguments that are missing."""
        for procedure in remote.PROGRAM.procedures.values():
            if procedure.event or procedure.args is None or procedure.name == "connect_open":
                continue
            self.assertRaises(DECODE_ERRORS, procedure.args.unpack, b"", 0)
            error = self.refused(pack_call(NUMBER, 1, procedure.number, 12), 12)
            self.assertEqual(39, error.code, procedure)
        self.assert_lives()

    def test_calls_with_descriptors(self) -> None:
        """Who takes none, or nobody who would: error 3, they are closed, the stream stays in step."""
        client = self.world.opened(transport="unix")
        for name, function in (
            ("domain_create_with_files", "virDomainCreateWithFiles"),
            ("domain_create_with_flags", "virDomainCreateWithFlags"),
        ):
            reader, writer = os.pipe()
            self.addCleanup(os.close, writer)
            procedure = remote.PROGRAM.by_name[name]
            payload = procedure.args(DOMAIN, 0).pack()
            client.protocol.fileDescriptorReceived(reader)
            client.send(pack_call(NUMBER, 1, procedure.number, 13, payload, descriptors=1) + b"\0")
            error = vir_error(client.answer(13).payload)
            self.assertEqual((3, function), (error.code, error.str2))
            self.assertRaises(OSError, os.fstat, reader)
        self.assert_lives(client)

    def test_keepalive_program_is_not_called(self) -> None:
        """It has messages and no procedures."""
        self.assert_refused(
            pack_call(0x6B656570, 1, 1, 14), 14, RPC, "Cannot find program 1801807216 version 1"
        )

    def test_one_bad_call_among_good_ones(self) -> None:
        """In one read: each gets its own answer, in order."""
        data = (
            pack_call(NUMBER, 1, GET_VERSION, 1)
            + pack_call(NUMBER, 1, 99999, 2)
            + pack_call(NUMBER, 1, 23, 3, b"\xff\xff\xff\xff")
            + pack_call(NUMBER, 1, GET_VERSION, 4)
        )
        self.client.send(data)
        kinds = [(message.serial, message.kind) for message in self.client.take()]
        self.assertEqual([(1, Kind.REPLY), (2, Kind.ERROR), (3, Kind.ERROR), (4, Kind.REPLY)], kinds)
