"""virt-admin governs remotevirt, word for word as it governs a real libvirtd."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.stubs import admin
from tests.interop.daemons import Daemon, Libvirtd, Remotevirt
from tests.interop.pair import start
from tests.interop.peers import Output, require, run
from tests.wire import AUTH_LIST, REMOTE, Closed, WireClient

SAME = """
version
srv-clients-list libvirtd
srv-clients-list admin
srv-clients-list nobody
srv-clients-info libvirtd
srv-clients-info admin
srv-clients-info nobody
client-info libvirtd {unix}
client-info libvirtd {ro}
client-info libvirtd {asked}
client-info libvirtd {tcp}
client-info libvirtd 777
client-info libvirtd word
client-info nobody 1
srv-clients-set libvirtd
srv-clients-set libvirtd --max-clients 100
srv-clients-set libvirtd --max-unauth-clients 101
srv-clients-set libvirtd --max-clients 10
srv-clients-set libvirtd --max-clients 0
srv-clients-set libvirtd --max-clients 4294967296
srv-clients-set libvirtd --max-unauth-clients 0
srv-clients-set libvirtd --max-clients 90 --max-unauth-clients 15
srv-clients-set libvirtd --max-clients 80 --max-unauth-clients 85
srv-clients-set nobody --max-clients 90
srv-clients-info libvirtd
srv-threadpool-info nobody
srv-threadpool-set libvirtd
srv-threadpool-set libvirtd --min-workers 3000000
srv-threadpool-set libvirtd --min-workers 30 --max-workers 20
srv-threadpool-set libvirtd --min-workers 0 --max-workers 0
srv-threadpool-set nobody --max-workers 20
srv-update-tls libvirtd
srv-update-tls admin
srv-update-tls nobody
client-disconnect libvirtd 777
client-disconnect nobody 1
client-disconnect libvirtd {tcp}
"""
"""What both answer alike, in order."""

AFTER = """
srv-clients-info libvirtd
srv-clients-list libvirtd
client-info libvirtd {tcp}
"""
"""The same, once the client that was disconnected has gone."""

LIBVIRTD = admin.NonnullServer("libvirtd")
ADMIN = admin.NonnullServer("admin")
GONE = admin.NonnullClient(LIBVIRTD, 777, 0, 0)


def uint(name: str, value: int) -> admin.TypedParam:
    """A parameter of the type that limits have."""
    return admin.TypedParam(name, admin.TypedParamValue(admin.VIR_TYPED_PARAM_UINT, value))


def virt_admin(daemon: Daemon, *arguments: str, stdin: str = "") -> Output:
    """Run one command of virt-admin; without arguments it reads commands from ``stdin``."""
    return run(["virt-admin", "-c", daemon.admin_uri, *arguments], stdin=stdin)


def plain(text: str) -> str:
    """An output without what is bound to differ: numbers of clients, times, ports."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+0000", "TIME", text)
    text = re.sub(r"(?m)^(sock_addr +: 127\.0\.0\.1:)\d+", r"\1PORT", text)
    text = re.sub(r"(Client|ID) '\d+'", r"\1 'N'", text)
    text = re.sub(r"(?m)^ \d+ +(?=unix|tcp|tls)", " N   ", text)
    return re.sub(r"(?m)^(id +: )\d+|-+$", r"\1N", text)


class Governed:
    """A daemon with four clients.

    Args:
        case: the test, with which they end.
        daemon: the daemon, not started yet.
    """

    def __init__(self, case: SynchronousTestCase, daemon: Daemon) -> None:
        start(case, daemon)
        self.daemon = daemon
        addresses: dict[str, str | tuple[str, int]] = {
            "unix": str(daemon.unix),
            "ro": str(daemon.unix_ro),
            "asked": str(daemon.unix),
            "tcp": ("127.0.0.1", daemon.tcp_port),
        }
        self.clients: dict[str, WireClient] = {}
        for name, address in addresses.items():
            client = self.clients[name] = WireClient(address)
            case.addCleanup(client.close)
            client.open(flags=1 if name in ("ro", "asked") else 0)
        listed = virt_admin(daemon, "-q", "srv-clients-list", "libvirtd")
        found = re.findall(r"(?m)^ +(\d+) +(?:unix|tcp) ", listed.out)
        self.numbers = dict(zip(self.clients, found, strict=True))

    def run(self, script: str) -> tuple[str, str]:
        """What virt-admin prints when it runs these commands; the numbers of clients are filled in."""
        script = script.format_map(self.numbers)
        output = virt_admin(self.daemon, stdin=script)
        for command in set(script.splitlines()):
            output = output._replace(out=output.out.replace(f"# {command}\n", "#\n"))
        return plain(output.out), plain(output.err)


class VirtAdminTests(SynchronousTestCase):
    """Its commands."""

    def setUp(self) -> None:
        require("virt-admin")

    def test_as_through_libvirtd(self) -> None:
        """Output and errors, word for word."""
        require("libvirtd")
        theirs, ours = Governed(self, Libvirtd()), Governed(self, Remotevirt())
        (wanted, complaints), found = theirs.run(SAME), ours.run(SAME)
        self.assertEqual(wanted.splitlines(), found[0].splitlines())
        self.assertEqual(complaints.splitlines(), found[1].splitlines())
        self.assertIn("nclients_unauth_max : 15", wanted)
        self.assertIn("No client with matching ID", complaints)
        for governed in (theirs, ours):
            self.assertRaises(Closed, governed.clients["tcp"].receive)
            self.assertEqual(0, governed.clients["unix"].call(REMOTE, AUTH_LIST).status)
        self.assertEqual(theirs.run(AFTER), ours.run(AFTER))

    def test_status(self) -> None:
        """A script can rely on it."""
        daemon = Remotevirt()
        start(self, daemon)
        found = virt_admin(daemon, "srv-list")
        self.assertEqual((0, ["admin", "libvirtd"]), (found.status, re.findall(r"\d +(\w+)", found.out)))
        self.assertEqual(1, virt_admin(daemon, "srv-clients-info", "nobody").status)

    def test_threads(self) -> None:
        """They are ours: what is shown, what is set, what is refused."""
        daemon = Remotevirt()
        start(self, daemon)

        def shown() -> dict[str, str]:
            out = virt_admin(daemon, "srv-threadpool-info", "libvirtd").out
            return dict(re.findall(r"(\w+) +: (\d+)", out))

        names = ["minWorkers", "maxWorkers", "nWorkers", "freeWorkers", "prioWorkers", "jobQueueDepth"]
        self.assertEqual(names, list(shown()))
        done = virt_admin(
            daemon, "srv-threadpool-set", "libvirtd", "--min-workers", "2", "--max-workers", "7"
        )
        self.assertEqual((0, ""), (done.status, done.err))
        self.assertEqual(dict(zip(names, "272200", strict=True)), shown())
        for option, number, text in (
            ("--max-workers", "1", "minWorkers cannot be larger than maxWorkers"),
            ("--max-workers", "1025", "maxWorkers cannot be larger than 1024"),
            ("--priority-workers", "3", "prioWorkers: no call waits for a worker"),
        ):
            done = virt_admin(daemon, "srv-threadpool-set", "libvirtd", option, number)
            self.assertEqual(1, done.status)
            self.assertIn(text, done.err)
        self.assertEqual("7", shown()["maxWorkers"])

    def test_disconnects_itself(self) -> None:
        """It may, and gets no answer; the daemon goes on."""
        daemon = Remotevirt()
        start(self, daemon)
        found = virt_admin(daemon, "srv-clients-list", "admin")
        following = int(re.findall(r"(?m)^ (\d+) ", found.out)[0]) + 1
        done = virt_admin(daemon, "client-disconnect", "admin", str(following))
        self.assertEqual(1, done.status)
        self.assertIn(f"Failed to disconnect client '{following}' from server admin", done.err)
        self.assertEqual(0, virt_admin(daemon, "srv-list").status)

    def test_socket(self) -> None:
        """Only its owner may connect."""
        daemon = Remotevirt()
        start(self, daemon)
        self.assertEqual(0o700, stat.S_IMODE(os.stat(daemon.unix_admin).st_mode))


class WireTests(SynchronousTestCase):
    """The same bytes come back as from libvirtd."""

    def setUp(self) -> None:
        require("libvirtd")
        self.daemons = [Libvirtd(), Remotevirt()]
        for daemon in self.daemons:
            start(self, daemon)

    def same(self, what: object, exchange: Callable[[WireClient], Any]) -> None:
        """Both daemons give the same on a fresh connection."""
        found = []
        for daemon in self.daemons:
            with WireClient(str(daemon.unix_admin)) as client:
                found.append(exchange(client))
        self.assertEqual(found[0], found[1], what)

    def same_reply(self, name: str, *fields: Any) -> None:
        """Both answer one call alike."""
        procedure = admin.PROGRAM.by_name[name]
        payload = procedure.args(*fields).pack() if procedure.args else b""
        self.same((name, fields), lambda client: client.call(admin.ADMIN_PROGRAM, procedure.number, payload))

    def test_calls(self) -> None:
        """Answers."""
        self.same_reply("connect_open", 0)
        self.same_reply("connect_get_lib_version")
        self.same_reply("connect_close")
        self.same_reply("connect_list_servers", 0, 0)
        for wanted in (0, 1):
            self.same_reply("server_list_clients", LIBVIRTD, wanted, 0)
        self.same_reply("server_list_clients", ADMIN, 0, 0)
        self.same_reply("connect_lookup_server", "libvirtd", 0)
        self.same_reply("server_get_client_limits", LIBVIRTD, 0)
        self.same_reply("server_set_client_limits", LIBVIRTD, [], 0)
        self.same_reply("server_set_threadpool_parameters", LIBVIRTD, [], 0)

    def test_refusals(self) -> None:
        """Errors, every field of them."""
        self.same_reply("connect_lookup_server", "nobody", 0)
        self.same_reply("server_lookup_client", LIBVIRTD, 777, 0)
        self.same_reply("client_close", GONE, 0)
        self.same_reply("server_update_tls_files", LIBVIRTD, 0)
        wrong: list[Sequence[admin.TypedParam]] = [[uint("nope", 1)]]
        for name in ("maxWorkers", "nclients_max"):
            value = admin.TypedParamValue(admin.VIR_TYPED_PARAM_INT, 30)
            wrong += [[uint(name, 30), uint(name, 31)], [admin.TypedParam(name, value)]]
        wrong += [[uint(name, 1)] for name in ("nWorkers", "freeWorkers", "jobQueueDepth", "nclients")]
        wrong += [[uint("nclients_max", 10)], [uint("minWorkers", 1000)]]
        for params in wrong:
            known = {param.field for param in params}
            if not known & {"nclients_max"}:
                self.same_reply("server_set_threadpool_parameters", LIBVIRTD, params, 0)
            if not known & {"maxWorkers", "minWorkers"}:
                self.same_reply("server_set_client_limits", LIBVIRTD, params, 0)

    def test_flags(self) -> None:
        """Nobody knows any."""
        for name, *fields in (
            ("connect_list_servers", 1),
            ("server_get_threadpool_parameters", LIBVIRTD),
            ("server_set_threadpool_parameters", LIBVIRTD, []),
            ("server_list_clients", LIBVIRTD, 1),
            ("server_lookup_client", LIBVIRTD, 1),
            ("server_get_client_limits", LIBVIRTD),
            ("server_set_client_limits", LIBVIRTD, []),
            ("server_update_tls_files", LIBVIRTD),
        ):
            self.same_reply(str(name), *fields, 6)

    def test_mechanics(self) -> None:
        """Calls that are wrong in themselves."""
        self.same("unknown", lambda client: client.call(admin.ADMIN_PROGRAM, 21))
        self.same("no arguments", lambda client: client.call(admin.ADMIN_PROGRAM, 1))
        self.same("another program", lambda client: client.call(REMOTE, AUTH_LIST))
