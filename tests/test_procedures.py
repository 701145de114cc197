"""Procedure tables, and encodings that are kept."""

from __future__ import annotations

from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import XDRError
from remotevirt.procedures import Kept, Procedure, Program
from remotevirt.rpcgen.contracts import load_contract
from remotevirt.stubs import admin, lxc, qemu, remote
from remotevirt.stubs.remote import ConnectGetTypeRet, NodeGetInfoRet, NonnullDomain

PROGRAMS = {program.name: program for program in (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM, admin.PROGRAM)}


class TableTests(SynchronousTestCase):
    """The generated tables say what the contracts say."""

    def test_every_procedure(self) -> None:
        """Numbers, names, structs, events, priorities and marks are those of the contract."""
        for name, program in PROGRAMS.items():
            (declared,) = load_contract(name).programs
            self.assertEqual((declared.number, declared.version), (program.number, program.version))
            self.assertEqual([p.number for p in declared.procedures], sorted(program.procedures))
            for expected in declared.procedures:
                found = program.procedures[expected.number]
                self.assertIs(found, program.by_name[expected.name])
                context = f"{name}.{expected.name}"
                self.assertEqual(expected.event, found.event, context)
                self.assertEqual(expected.priority == "high", found.high_priority, context)
                self.assertEqual(expected.pre_auth, found.pre_auth, context)
                self.assertEqual(bool(expected.readstream), found.readstream, context)
                self.assertEqual(bool(expected.writestream), found.writestream, context)
                self.assertEqual(expected.fds in ("call", "call_and_reply"), found.fds_in, context)
                self.assertEqual(expected.fds in ("reply", "call_and_reply"), found.fds_out, context)
                self.assertEqual(expected.args is None, found.args is None, context)
                self.assertEqual(expected.ret is None, found.ret is None, context)
                declared_acl = expected.acl and [(p.object, p.permission) for p in expected.acl]
                found_acl = found.acl and [(p.object, p.permission) for p in found.acl]
                self.assertEqual(declared_acl, found_acl, context)
                self.assertEqual(expected.acl is None, found.acl is None, context)

    def test_numbers_of_procedures(self) -> None:
        """As many as libvirt has."""
        counts = {name: len(program.procedures) for name, program in PROGRAMS.items()}
        self.assertEqual({"remote": 456, "qemu": 7, "lxc": 1, "admin": 20}, counts)
        self.assertEqual(55, sum(p.event for p in remote.PROGRAM.procedures.values()))

    def test_events_and_calls(self) -> None:
        """An event has a message and no result; what a driver answers is no event."""
        for program in PROGRAMS.values():
            for procedure in program.procedures.values():
                if procedure.event:
                    self.assertIsNotNone(procedure.args, procedure)
                    self.assertIsNone(procedure.ret, procedure)
                    self.assertIsNone(procedure.driver, procedure)

    def test_encoders(self) -> None:
        """A result of one field is encoded from the bare value, one of several from its struct."""
        one = remote.PROGRAM.by_name["connect_get_type"]
        several = remote.PROGRAM.by_name["node_get_info"]
        assert one.encode is not None and several.encode is not None
        self.assertEqual(ConnectGetTypeRet("TEST").pack(), one.encode("TEST"))
        info = NodeGetInfoRet(bytes(32), 1, 2, 3, 4, 5, 6, 7)
        self.assertEqual(info.pack(), several.encode(info))
        self.assertIsNone(remote.PROGRAM.by_name["connect_close"].encode)

    def test_repr(self) -> None:
        """Names and numbers show."""
        self.assertEqual("<Procedure 3 connect_get_type>", repr(remote.PROGRAM.procedures[3]))
        self.assertEqual("<Program remote 0x20008086 version 1>", repr(remote.PROGRAM))

    def test_own_program(self) -> None:
        """A program made by hand is found by number and by name."""
        row = Procedure(9, "say", args=NonnullDomain)
        program = Program("mine", 7, 2, (row,))
        self.assertEqual({9: row}, program.procedures)
        self.assertEqual({"say": row}, program.by_name)
        self.assertEqual(((), None), (row.aclfilter, row.acl))


class CountedRef(NamedTuple):
    """A struct that counts how often it is packed."""

    made: list[int]

    def pack(self) -> bytes:
        """Pack."""
        self.made.append(1)
        return b"wire"


class KeptRef(Kept, CountedRef):
    """It, kept."""


class DomainRef(Kept, NonnullDomain):
    """A domain's reference, kept."""


class KeptTests(SynchronousTestCase):
    """The mixin that keeps encodings."""

    def test_made_once(self) -> None:
        """The encoding is made when it is first wanted, and once."""
        made: list[int] = []
        ref = KeptRef(made)
        self.assertEqual([], made)
        self.assertEqual([b"wire", b"wire"], [ref.pack(), ref.pack()])
        self.assertEqual([1], made)

    def test_each_its_own(self) -> None:
        """Two values do not share one, nor does a changed copy have that of its origin."""
        one, two = DomainRef("one", bytes(16), 1), DomainRef("two", bytes(16), 2)
        wires = one.pack(), two.pack()
        changed = one._replace(id=5)
        self.assertEqual(NonnullDomain("one", bytes(16), 5).pack(), changed.pack())
        self.assertEqual(wires, (NonnullDomain(*one).pack(), NonnullDomain(*two).pack()))

    def test_it_is_still_the_struct(self) -> None:
        """It compares as the struct does, and unpacks as it."""
        ref = DomainRef("one", bytes(16), 1)
        self.assertEqual(NonnullDomain("one", bytes(16), 1), ref)
        self.assertEqual(ref, NonnullDomain.unpack(ref.pack(), 0)[0])

    def test_errors_are_not_kept(self) -> None:
        """What does not pack says so each time."""
        ref = DomainRef("one", b"short", 1)
        for _ in range(2):
            self.assertRaises(XDRError, ref.pack)
