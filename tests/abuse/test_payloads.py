"""Every procedure of every program: short, long and random payloads, and changed ones of real clients."""

from __future__ import annotations

from random import Random

from remotevirt.procedures import Procedure, Program
from remotevirt.stubs import admin, lxc, qemu, remote
from remotevirt.stubs.message import VIR_NET_MESSAGE_PAYLOAD_MAX
from tests.abuse.attack import ROUNDS, AbuseTestCase
from tests.seeds import golden_payloads, mutate, plausible
from tests.wire import Closed, Frame, WireClient, pack_frame

PROGRAMS = (remote.PROGRAM, qemu.PROGRAM, lxc.PROGRAM, admin.PROGRAM)

LEAVES = {"connect_close", "auth_sasl_init", "auth_sasl_start", "auth_sasl_step", "auth_polkit"}
"""What ends the connection: closing it, and failing to authenticate some times."""

BATCH = 32
"""Calls of one write: fewer than may wait."""


def payloads(program: Program, procedure: Procedure, random: Random) -> list[bytes]:
    """What a procedure is called with in one round."""
    seeds = [*golden_payloads().get((program.number, procedure.number), ()), plausible(procedure, random)]
    seed = random.choice(seeds)
    return [
        b"",
        seed,
        seed[: random.randrange(len(seed) + 1)],
        seed + random.randbytes(random.randrange(1, 64)),
        random.randbytes(random.randrange(4, 200)),
        b"\xff" * random.randrange(4, 64),
        bytes(random.randrange(4, 2000)),
        *(mutate(random.choice(seeds), random) for _ in range(3)),
        mutate(plausible(procedure, random), random),
    ]


class PayloadTests(AbuseTestCase):
    """One daemon, all its procedures."""

    fresh = True

    def test_every_procedure(self) -> None:
        """Each call is answered once, with a reply or an error; no exception reaches the log."""
        random = Random(3)
        with self.attack("payloads"):
            for _ in range(ROUNDS):
                self._round(random)
        self.assert_no_bugs()

    def _round(self, random: Random) -> None:
        calls = [
            (program, procedure, payload)
            for program in PROGRAMS
            for procedure in program.procedures.values()
            for payload in payloads(program, procedure, random)
        ]
        random.shuffle(calls)
        client = self._fresh()
        for start in range(0, len(calls), BATCH):
            batch = calls[start : start + BATCH]
            try:
                self._send(client, batch)
            except Closed:
                client = self._fresh()
        client.close()

    def _fresh(self) -> WireClient:
        self.may_leave = False
        client = WireClient(str(self.daemon.unix))
        client.open()
        return client

    def _send(self, client: WireClient, batch: list[tuple[Program, Procedure, bytes]]) -> None:
        """Send calls at once, and take all the replies."""
        data = b""
        awaited = {}
        for program, procedure, payload in batch:
            serial = client.serial
            client.serial += 1
            data += pack_frame(
                Frame(program.number, program.version, procedure.number, 0, serial, 0, payload)
            )
            awaited[serial] = procedure.name
            self.may_leave |= procedure.name in LEAVES
        client.send_raw(data)
        while awaited:
            try:
                reply = client.receive()
            except Closed:
                self.assertTrue(self.may_leave, f"closed before {awaited}\n{self.daemon.log()}")
                raise
            except TimeoutError:
                self.fail(f"no reply to {awaited}")
            if reply.type == 1:
                self.assertIn(reply.status, (0, 1))
                self.assertIn(reply.serial, awaited, "answered twice, or never asked")
                del awaited[reply.serial]

    def test_the_largest_payload(self) -> None:
        """A payload of the largest size costs one error, whatever it claims to hold."""
        with self.attack("the largest payloads", slack=2 * VIR_NET_MESSAGE_PAYLOAD_MAX):
            client = self.client()
            for fill in (b"\0", b"\xff", b"\0\0\0\1"):
                size = VIR_NET_MESSAGE_PAYLOAD_MAX
                payload = (fill * (size // len(fill)))[:size]
                for name in ("domain_define_xml", "connect_list_domains", "domain_set_memory_parameters"):
                    reply = client.call(remote.PROGRAM.number, remote.PROGRAM.by_name[name].number, payload)
                    self.assertIn(reply.status, (0, 1))
            client.close()
        self.assert_no_bugs()
