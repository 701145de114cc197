"""Where a daemon listens when its command line does not say."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from remotevirt.config import Config, ConfigError
from remotevirt.description import DescriptionError
from remotevirt.listening import auth_of, find_places, inherited_names, runtime_folder
from remotevirt.transport import Credentials, LibvirtTLSEndpoint
from tests.transport.pki import Authority


class ListenersTests(TestCase):
    """What the configuration says."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.folder = Path(os.path.relpath(self.folder))

    def test_two_sockets(self) -> None:
        found = find_places(reactor, [], Config(unix_sock_dir=self.folder)).listeners
        endpoints: Any = [listener.endpoint for listener in found]
        self.assertEqual(["remotevirt-sock", "remotevirt-sock-ro"], [Path(e.path).name for e in endpoints])
        self.assertEqual([0o700, 0o777], [endpoint.mode for endpoint in endpoints])
        self.assertEqual([False, True], [listener.readonly for listener in found])

    def test_admin_socket(self) -> None:
        for settings, path, mode in [
            (Config(unix_sock_dir=self.folder), self.folder / "remotevirt-admin-sock", 0o700),
            (Config(unix_sock_dir=self.folder, unix_sock_admin_perms=0o770), None, 0o770),
            (Config(unix_sock_dir=self.folder, admin_socket=Path("/run/adm")), Path("/run/adm"), 0o700),
        ]:
            admin: Any = find_places(reactor, [], settings).admin
            self.assertEqual(mode, admin.endpoint.mode)
            if path is not None:
                self.assertEqual(str(path), admin.endpoint.path)
            self.assertEqual(5, admin.endpoint.backlog)

    def test_admin_socket_with_listeners_of_the_command_line(self) -> None:
        """They replace all that is implied; one that is asked for stays."""
        given = [("unix:s", False)]
        self.assertIsNone(find_places(reactor, given, Config()).admin)
        admin: Any = find_places(reactor, given, Config(admin_socket=Path("/run/adm"))).admin
        self.assertEqual("/run/adm", admin.endpoint.path)

    def test_metrics(self) -> None:
        self.assertIsNone(find_places(reactor, [], Config(unix_sock_dir=self.folder)).metrics)
        settings = Config(metrics_listen="tcp:9177:interface=127.0.0.1")
        metrics: Any = find_places(reactor, [("unix:s", False)], settings).metrics
        self.assertEqual("tcp:9177:interface=127.0.0.1", metrics.text)
        settings = Config(metrics_listen="tcp:nope")
        self.assertRaises(DescriptionError, find_places, reactor, [("unix:s", False)], settings)

    def test_backlog(self) -> None:
        settings = Config(unix_sock_dir=self.folder, listen_tcp=True, max_queued_clients=7)
        found: Any = find_places(reactor, [], settings).listeners
        self.assertEqual([7, 7], [listener.endpoint.backlog for listener in found[:2]])
        self.assertIn(":backlog=7", found[2].text)

    def test_dry(self) -> None:
        """A check makes no folder."""
        folder = self.folder / "not-made"
        self.patch(os, "environ", {**os.environ, "RUNTIME_DIRECTORY": str(folder)})
        self.assertEqual(2, len(find_places(reactor, [], Config(), dry=True).listeners))
        self.assertFalse(folder.exists())

    def test_awkward_folder(self) -> None:
        """The folder's name is not mistaken for options."""
        folder = self.folder / "a:mode=777"
        found: Any = find_places(reactor, [], Config(unix_sock_dir=folder, unix_sock_group="0")).listeners
        self.assertEqual(str(folder / "remotevirt-sock"), found[0].endpoint.path)
        self.assertEqual((0o700, 0), (found[0].endpoint.mode, found[0].endpoint.gid))

    def test_tcp_on_loopback_unless_said(self) -> None:
        for settings, text in [
            (Config(unix_sock_dir=self.folder, listen_tcp=True), "tcp:16509:interface=127.0.0.1"),
            (
                Config(unix_sock_dir=self.folder, listen_tcp=True, tcp_port=7, listen_addr="::1"),
                r"tcp:7:interface=\:\:1",
            ),
        ]:
            self.assertEqual(text, find_places(reactor, [], settings).listeners[2].text)

    def test_tls(self) -> None:
        folder = Authority().server_folder(self.folder / "pki")
        settings = Config(
            unix_sock_dir=self.folder,
            listen_tls=True,
            ca_file=folder / "cacert.pem",
            cert_file=folder / "servercert.pem",
            key_file=folder / "serverkey.pem",
        )
        listener = find_places(reactor, [], settings).listeners[2]
        assert isinstance(listener.endpoint, LibvirtTLSEndpoint)
        self.assertEqual("tls", listener.transport)
        self.assertEqual(Credentials.load(folder).chain, listener.endpoint.credentials.chain)

    def test_runtime_folder(self) -> None:
        before = os.umask(0o077)
        try:
            found = runtime_folder(1000, {"XDG_RUNTIME_DIR": str(self.folder)})
        finally:
            os.umask(before)
        self.assertEqual(self.folder / "remotevirt", found)
        self.assertEqual(0o700, stat.S_IMODE(found.stat().st_mode))
        self.assertEqual(found, runtime_folder(1000, {"XDG_RUNTIME_DIR": str(self.folder)}))

    def test_runtime_folder_of_make_run(self) -> None:
        """``make run`` asks for it, in a line of its own."""
        makefile = Path(__file__).resolve().parents[1] / "Makefile"
        found = re.search(r"python -c '([^']*)'", makefile.read_text())
        assert found is not None
        done = subprocess.run(
            [sys.executable, "-c", found[1]],
            capture_output=True,
            text=True,
            check=False,
            cwd=makefile.parent,
            env={"RUNTIME_DIRECTORY": str(self.folder)},
        )
        self.assertEqual((0, f"{self.folder}\n", ""), (done.returncode, done.stdout, done.stderr))

    def test_runtime_folder_of_systemd(self) -> None:
        """The first folder that systemd has made for the service comes before all rules, for root too."""
        found = runtime_folder(0, {"RUNTIME_DIRECTORY": f"{self.folder}/vm:/run/other"})
        self.assertEqual(self.folder / "vm", found)
        self.assertTrue(found.is_dir())

    def test_runtime_folder_cannot_be_made(self) -> None:
        (self.folder / "file").write_text("")
        environ = {"XDG_RUNTIME_DIR": str(self.folder / "file")}
        error = self.assertRaises(ConfigError, runtime_folder, 1000, environ)
        folder = self.folder / "file" / "remotevirt"
        self.assertEqual(f"cannot make {folder} for sockets: Not a directory", str(error))

    def test_runtime_folder_below_a_home_of_somebody_else(self) -> None:
        """So it is with ``sudo -u`` and the like, which may leave HOME as it was."""

        def refuse(path: object, *args: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(os, "mkdir", refuse)
        self.patch(os, "stat", refuse)
        environ = {"XDG_RUNTIME_DIR": "/theirs"}
        error = self.assertRaises(ConfigError, runtime_folder, 1000, environ)
        self.assertEqual("cannot make /theirs/remotevirt for sockets: Permission denied", str(error))


class AuthTests(TestCase):
    """How clients of each listener log in."""

    def auth(self, settings: Config, text: str, readonly: bool = False) -> str:
        (listener,) = find_places(reactor, [(text, readonly)], settings).listeners
        return auth_of(listener, settings)

    def test_each_by_its_key(self) -> None:
        settings = Config(auth_unix_rw="sasl")
        self.assertEqual("sasl", self.auth(settings, "unix:s"))
        self.assertEqual("none", self.auth(settings, "unix:s", readonly=True))
        settings = Config(auth_unix_ro="sasl")
        self.assertEqual("none", self.auth(settings, "unix:s"))
        self.assertEqual("sasl", self.auth(settings, "unix:s", readonly=True))
        folder = Authority().server_folder(Path(self.mktemp()))
        tls = f"libvirttls:0:pki={folder}"
        self.assertEqual("none", self.auth(Config(), tls))
        self.assertEqual("sasl", self.auth(Config(auth_tls="sasl"), tls))

    def test_tcp(self) -> None:
        for text, wanted in [
            ("tcp:0", "sasl"),
            ("tcp:0:interface=192.0.2.1", "sasl"),
            ("tcp:0:interface=127.8.9.1", "none"),
            ("tcp:0:interface=localhost", "none"),
            ("tcp:0:interface=localhost.example", "sasl"),
            (r"tcp6:0:interface=\:\:1", "none"),
            (r"tcp6:0:interface=\:\:", "sasl"),
        ]:
            self.assertEqual(wanted, self.auth(Config(), text), text)
            self.assertEqual("none", self.auth(Config(auth_tcp="none"), text), text)
            self.assertEqual("sasl", self.auth(Config(auth_tcp="sasl"), text), text)

    def test_inherited_socket(self) -> None:
        """The socket itself is asked where it listens."""
        from twisted.internet.endpoints import AdoptedStreamServerEndpoint

        from remotevirt.transport import Listener

        for host, wanted in [("127.0.0.1", "none"), ("0.0.0.0", "sasl")]:
            with socket.socket() as listening:
                listening.bind((host, 0))
                endpoint = AdoptedStreamServerEndpoint(reactor, listening.fileno(), socket.AF_INET)
                listener = Listener("systemd:domain=INET:index=0", endpoint, "tcp")
                self.assertEqual(wanted, auth_of(listener, Config()))


class InheritedTests(TestCase):
    """Which sockets systemd has handed over; tests/test_units.py does it for real."""

    def test_names(self) -> None:
        ours = str(os.getpid())
        for environ, names in [
            ({}, ()),
            ({"LISTEN_FDNAMES": ""}, ()),
            ({"LISTEN_FDNAMES": "a.socket:b.socket"}, ["a.socket", "b.socket"]),
            ({"LISTEN_FDNAMES": "a.socket", "LISTEN_PID": ours}, ["a.socket"]),
            ({"LISTEN_FDNAMES": "a.socket", "LISTEN_PID": ours + "1"}, ()),
        ]:
            self.assertEqual(names, inherited_names(environ))
