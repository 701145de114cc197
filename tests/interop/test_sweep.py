"""Every call of the remote program, with nothing and with only zeros for arguments, to both daemons.

Zeros are an argument of every type: no text, no object, no element. So libvirtd's answer says what it checks
first, and for what its test driver lacks that the connection driver does not support it. What libvirt's test
driver has and ours does not have *yet* stands in ``tests/data/not-yet.txt``, a name a line; whoever adds a
call is told to take it out.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.procedures import Procedure
from remotevirt.stubs import remote
from remotevirt.stubs.message import MessageError
from tests.interop.pair import Outcome, Pair, outcome_of
from tests.wire import ERROR, REMOTE, WireClient

ZEROS = bytes(16384)
"""More than the largest fixed-size arguments; what is left over is ignored."""

RPC, NO_SUPPORT = 39, 3
"""VIR_ERR_RPC, VIR_ERR_NO_SUPPORT."""

NEWEST = 443
"""The last procedure of libvirt 9.0.0; what is newer it does not know."""

NOT_YET = Path(__file__).resolve().parents[1] / "data" / "not-yet.txt"
"""Procedures that libvirt's test driver answers and ours says it does not support."""

DELIBERATE = {
    **dict.fromkeys(
        (
            "domain_restore",
            "domain_restore_flags",
            "domain_save_image_define_xml",
            "domain_save_image_get_xml_desc",
        ),
        "libvirtd looks into the folder that it was started in; ours allows no files, and says so",
    ),
    "auth_polkit": "libvirtd's error says nothing; ours says that authentication failed",
    "domain_screenshot": "libvirtd sends a picture of a guest that is not there",
    "connect_secret_event_deregister_any": "libvirtd's text speaks of a node device event",
}
"""Procedures that answer otherwise on purpose, and why."""


def _steady(outcome: Outcome | str) -> Outcome | str:
    """An outcome without the number of a registration, which is the daemon's affair."""
    if isinstance(outcome, Outcome) and isinstance(outcome.value, tuple):
        (message, rest) = outcome.value
        if hasattr(message, "callbackID"):
            return outcome._replace(value=(message._replace(callbackID=0), rest))
    return outcome


class SweepTests(SynchronousTestCase):
    """401 calls each."""

    def setUp(self) -> None:
        self.pair = Pair(self)
        calls = sorted(remote.PROGRAM.procedures.values(), key=lambda procedure: procedure.number)
        self.calls = [procedure for procedure in calls if not procedure.event]

    def _ask(self, procedure: Procedure, payload: bytes) -> tuple[Outcome | str, Outcome | str]:
        def exchange(client: WireClient) -> Outcome:
            client.open()
            return outcome_of(client.call(REMOTE, procedure.number, payload))

        libvirtd, ours = self.pair.each(exchange)
        return _steady(libvirtd), _steady(ours)

    def _error(self, outcome: Outcome | str) -> MessageError | None:
        assert isinstance(outcome, Outcome), outcome
        if outcome.status != ERROR:
            return None
        assert isinstance(outcome.value, tuple)
        (error, _) = outcome.value
        assert isinstance(error, MessageError)
        return error

    def test_no_arguments(self) -> None:
        """Arguments that are missing are the same error as libvirtd's, for every call that takes some."""
        differing = []
        for procedure in self.calls:
            if procedure.args is None or procedure.number > NEWEST:
                continue
            libvirtd, ours = self._ask(procedure, b"")
            error = self._error(ours)
            if libvirtd != ours or error is None or error.code != RPC:
                differing.append(f"{procedure.name}\n  libvirtd   {libvirtd}\n  remotevirt {ours}")
        self.assertEqual(len(differing), 0, "\n".join(differing))

    def test_zeros(self) -> None:
        """What libvirt's test driver lacks is refused in its words; what it has answers as it does."""
        differing, missing = [], set()
        for procedure in self.calls:
            if procedure.number > NEWEST:
                continue
            libvirtd, ours = self._ask(procedure, ZEROS)
            if (libvirtd == ours) == (procedure.name not in DELIBERATE):
                continue
            theirs, error = self._error(libvirtd), self._error(ours)
            if (
                (theirs is None or theirs.code != NO_SUPPORT)
                and error is not None
                and error.code == NO_SUPPORT
            ):
                missing.add(procedure.name)
            else:
                differing.append(f"{procedure.name}\n  libvirtd   {libvirtd}\n  remotevirt {ours}")
        self.assertEqual(len(differing), 0, "\n".join(differing))
        self.assertEqual(sorted(missing), NOT_YET.read_text().split())

    def test_newer_calls_are_known(self) -> None:
        """Calls that libvirt 9.0.0 does not know are known here: they are not unknown procedures."""
        newer = [procedure for procedure in self.calls if procedure.number > NEWEST]
        self.assertNotEqual(newer, [])
        for procedure in newer:
            libvirtd, ours = self._ask(procedure, ZEROS)
            theirs = self._error(libvirtd)
            assert theirs is not None
            self.assertEqual(theirs.message, f"unknown procedure: {procedure.number}")
            error = self._error(ours)
            self.assertNotEqual(error and error.code, RPC, procedure.name)
