"""Clients and calls as the dispatcher would hand them over, without a dispatcher."""

from __future__ import annotations

from typing import Any

import attrs

from remotevirt.identity import Identity
from remotevirt.procedures import Procedure, Program
from remotevirt.rpc.message import pack_call
from remotevirt.server.trace import Call
from remotevirt.stubs import admin, qemu, remote
from remotevirt.stubs.remote import NonnullDomain

__all__ = ["ALICE", "DOMAIN", "PROGRAMS", "FakeClient", "all_procedures", "make_call", "payload_of"]

PROGRAMS = (remote.PROGRAM, qemu.PROGRAM, admin.PROGRAM)

ALICE = Identity("tls", "192.0.2.7;40000", dn="C=GB,O=Example,CN=alice")

DOMAIN = NonnullDomain("web", bytes(range(16)), 3)
DOMAIN_UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"


@attrs.define(eq=False)
class FakeClient:
    """What tracers see of a client."""

    id: int = 7
    identity: Identity = ALICE
    readonly: bool = False
    listener: str = "tls:16514"
    server: str = "libvirtd"
    connected_at: float = 1_000_000.0


def all_procedures() -> list[tuple[Program, Procedure]]:
    """Every call of the contract (no events)."""
    return [
        (program, procedure)
        for program in PROGRAMS
        for procedure in program.procedures.values()
        if not procedure.event
    ]


def make_call(
    name: str,
    *args: Any,
    client: FakeClient | None = None,
    latency: float = 0.002,
    started: float = 0.0,
    program: Program = remote.PROGRAM,
) -> Call:
    """A call that has ended.

    Args:
        name: the procedure; one that does not exist makes a call of a number that means nothing.
        args: the fields of its arguments.
    """
    procedure = program.by_name.get(name)
    number = 9999 if procedure is None else procedure.number
    body = b"" if procedure is None or procedure.args is None else procedure.args(*args).pack()
    frame = pack_call(program.number, program.version, number, 1, body)[4:]
    call = Call(client or FakeClient(), frame, started)
    if procedure is not None:
        call.program, call.procedure = program, procedure
    call.latency = latency
    return call


def payload_of(call: Call, *fields: Any) -> bytes:
    """The payload of an answer with these fields."""
    assert call.procedure is not None and call.procedure.ret is not None
    payload: bytes = call.procedure.ret(*fields).pack()
    return payload
