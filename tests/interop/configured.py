"""Whole daemons with sockets and files of their own, and clients of theirs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.auth import make_keys
from remotevirt.auth.users import updating_users
from tests.daemons import TWISTD
from tests.interop.daemons import Remotevirt
from tests.interop.peers import TIMEOUT, require, run_virsh

GUEST = "<domain type='test'><name>{}</name><memory>8192</memory><os><type>hvm</type></os></domain>"

PASSWORD = "a secret that no log may hold"


class Configured(Remotevirt):
    """A daemon with sockets in the usual places, which gets its configuration from a file.

    Args:
        options: of ``twistd remotevirt``.
        inherited: sockets that systemd would hand over, by their units' names.
        environment: what to add to the daemon's.
        up: what it prints when it serves.
    """

    def __init__(
        self,
        options: Sequence[str],
        inherited: Mapping[str, socket.socket] | None = None,
        environment: Mapping[str, str] | None = None,
        up: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(options=options, **kwargs)
        self.environment = dict(environment or {})
        self.inherited = dict(inherited or {})
        self.passed = [listening.fileno() for listening in self.inherited.values()]
        self.up = up

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        if not self.inherited:
            command, environment = super()._command()
            return command, {**environment, **self.environment}
        # A shell puts the sockets where systemd would.
        moves = " ".join(f"{3 + index}<&{number}" for index, number in enumerate(self.passed))
        shell = f'exec "$0" "$@" {moves}'
        command = [
            "bash",
            "-c",
            shell,
            sys.executable,
            "-c",
            TWISTD,
            "--nodaemon",
            "--pidfile=",
            "remotevirt",
        ]
        command += ["--driver", self.driver, *self.options]
        names = ":".join(self.inherited)
        return command, {
            "PYTHONUNBUFFERED": "1",
            "LISTEN_FDS": str(len(self.passed)),
            "LISTEN_FDNAMES": names,
        }

    def _is_up(self) -> bool:
        return self.up in self.log() if self.up else super()._is_up()

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = TIMEOUT) -> int:
        """Wait until the process has ended by itself; returns its status, negative for a signal."""
        assert self._process is not None
        return self._process.wait(seconds)


class DaemonTestCase(SynchronousTestCase):
    """Runs daemons and clients in a folder of its own."""

    def setUp(self) -> None:
        require("virsh")
        made = tempfile.TemporaryDirectory(prefix="daemon-")  # short, for the paths of sockets
        self.addCleanup(made.cleanup)
        self.folder = Path(made.name)

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text(text)
        return path

    def daemon(self, *options: str, **kwargs: Any) -> Configured:
        """Start a daemon; it is ended with the test."""
        daemon = Configured(options, **kwargs)
        self.addCleanup(daemon.stop)
        daemon.start()
        return daemon

    def until(self, daemon: Configured, condition: Callable[[str], Any]) -> None:
        """Wait until a daemon's log is as wanted."""
        self.assertTrue(daemon.wait_for_log(condition, TIMEOUT), daemon.log())

    def reload(self, daemon: Configured) -> None:
        """Send SIGHUP, and wait until that has been done."""
        before = daemon.log().count("reloaded ")
        daemon.signal(signal.SIGHUP)
        self.until(daemon, lambda log: log.count("reloaded ") > before)

    def ok(self, uri: str, *command: str, stdin: str = "", **kwargs: Any) -> str:
        """Run virsh, which succeeds; what it printed."""
        output = run_virsh(uri, *command, stdin=stdin, **kwargs)
        self.assertEqual((0, ""), (output.status, output.err), output)
        return output.out

    def refused(self, text: str, uri: str, *command: str, **kwargs: Any) -> None:
        """Run virsh, which fails with this as its last words."""
        output = run_virsh(uri, *command, **kwargs)
        self.assertEqual(1, output.status, output)
        self.assertTrue(output.err.rstrip().endswith(text), output)

    def names(self, uri: str, **kwargs: Any) -> set[str]:
        """The domains that a client sees."""
        return set(self.ok(uri, "list", "--all", "--name", **kwargs).split())

    def users(self, *names: str) -> Path:
        """Make a file of users; all have the same password."""
        path = self.folder / "users"
        with updating_users(path) as users:
            for name in names:
                users[name] = {"SCRAM-SHA-256": make_keys("SCRAM-SHA-256", PASSWORD)}
        return path

    def login_as(self, name: str, password: str = PASSWORD) -> None:
        """Let virsh log in as somebody from now on."""
        path = self.write(
            "auth.conf",
            f"[credentials-here]\nauthname={name}\npassword={password}\n"
            "[auth-libvirt-default]\ncredentials=here\n",
        )
        self.patch(os, "environ", {**os.environ, "LIBVIRT_AUTH_FILE": str(path)})
