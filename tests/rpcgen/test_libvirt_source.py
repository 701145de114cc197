"""The contracts in libvirt's own source, if it is there.

``make test`` fetches the source package of Debian 12 (libvirt 9.0.0) where it can, and
``REMOTEVIRT_LIBVIRT_SOURCE`` names another copy of it, for example after ``apt-get source libvirt``. Without
one these tests are skipped, or with ``CI=true`` fail; the dialect has tests of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import FailTest, SkipTest, TestCase

from remotevirt.rpcgen.check import compile_contract
from remotevirt.rpcgen.contracts import CONTRACTS
from remotevirt.rpcgen.diff import Change, compare
from remotevirt.rpcgen.loader import load_files

VARIABLE = "REMOTEVIRT_LIBVIRT_SOURCE"
FETCHED = Path(__file__).parents[2] / ".peers" / "libvirt-source"
PROTOCOL = Path(__file__).parents[2] / "remotevirt" / "protocol"


class SourceTests(TestCase):
    """Every ``.x`` file of the source package, and ours beside it."""

    def setUp(self) -> None:
        self.source = Path(os.environ.get(VARIABLE, FETCHED)) / "src"
        if not self.source.is_dir():
            text = f"no source package of libvirt 9.0.0: {VARIABLE} does not name one"
            raise FailTest(text) if os.environ.get("CI") == "true" else SkipTest(text)

    def differences(self, theirs: str, ours: str) -> list[Change]:
        old = load_files([self.source / theirs])
        new = load_files([PROTOCOL / file for file in CONTRACTS[ours].files])
        return compare(old.own, new.own, ours=False)

    def test_every_file(self) -> None:
        """Each of them compiles, and has as many procedures as it should."""
        found = {}
        for path in sorted(self.source.rglob("*.x")):
            loaded = load_files([path])
            compile_contract(loaded)
            self.assertEqual(loaded.external_types, ())
            found[path.name] = [len(program.procedures) for program in loaded.own.programs]
        expected = {
            "admin_protocol.x": [19],
            "lxc_monitor_protocol.x": [2],
            "virkeepaliveprotocol.x": [2],
            "virnetprotocol.x": [],
            "log_protocol.x": [4],
            "lxc_protocol.x": [1],
            "qemu_protocol.x": [7],
            "remote_protocol.x": [443],
            "lock_protocol.x": [8],
        }
        self.assertEqual(found, expected)

    def test_unchanged(self) -> None:
        """Programs that are the same in 9.0.0 and in ours."""
        self.assertEqual(self.differences("remote/qemu_protocol.x", "qemu"), [])
        self.assertEqual(self.differences("remote/lxc_protocol.x", "lxc"), [])
        self.assertEqual(self.differences("rpc/virnetprotocol.x", "message"), [])
        self.assertEqual(self.differences("rpc/virkeepaliveprotocol.x", "keepalive"), [])

    def test_admin(self) -> None:
        """Ours has one call more."""
        found = [
            (each.sort, each.mark, each.name) for each in self.differences("admin/admin_protocol.x", "admin")
        ]
        expected = [
            ("procedures", "+", "ADMIN_PROC_CONNECT_DAEMON_SHUTDOWN"),
            ("structs", "+", "admin_connect_daemon_shutdown_args"),
        ]
        self.assertEqual(found, expected)

    def test_remote(self) -> None:
        """Ours has procedures 444 to 456 with their structs, and one permission more; no more differs."""
        changes = self.differences("remote/remote_protocol.x", "remote")
        changed = [(each.sort, each.name, each.details) for each in changes if each.mark == "~"]
        expected = [("procedures", "REMOTE_PROC_NODE_DEVICE_DEFINE_XML", ("+ @acl: node_device:save",))]
        self.assertEqual(changed, expected)
        self.assertEqual([each for each in changes if each.mark == "-"], [])
        added = [each for each in changes if each.mark == "+"]
        numbers = [int(each.details[0].split()[1]) for each in added if each.sort == "procedures"]
        self.assertEqual(sorted(numbers), list(range(444, 457)))
        names = {
            each.name.replace("REMOTE_PROC", "remote").lower() for each in added if each.sort == "procedures"
        }
        rest = [each for each in added if each.sort != "procedures"]
        self.assertEqual({each.sort for each in rest}, {"structs"})
        stems = {each.name.removesuffix("_args").removesuffix("_ret").removesuffix("_msg") for each in rest}
        self.assertEqual(stems, names)
