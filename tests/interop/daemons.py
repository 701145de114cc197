"""Private daemons for tests and benchmarks: a real libvirtd, and remotevirt, each in its own folder.

A daemon here is a child process that serves a read-write, a read-only and an admin UNIX socket in a temporary
folder, TCP on a free port of 127.0.0.1 and, where certificates are given, TLS on another. ``start`` returns
when the daemon accepts connections; ``stop`` ends that process, by its own handle, and removes the folder.
Only the standard library is used, so that the benchmark needs nothing else.

libvirtd is told to find no loadable driver (``LIBVIRT_DRIVER_DIR`` is an empty folder): its test driver is
compiled in, and without the others it touches nothing of the host's ``/run/libvirt``, so that any number of
private daemons run beside each other and beside the host's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["Daemon", "DaemonError", "Libvirtd", "Remotevirt", "find_libvirtd", "project_root"]

START_SECONDS = 30.0
"""How long a daemon may take until it accepts connections; a loaded machine needs seconds."""

STOP_SECONDS = 10.0
"""How long a daemon may take to end after SIGTERM, before it is killed."""

project_root = Path(__file__).resolve().parents[2]
"""The checkout: from here a daemon finds the package and its twistd plug-in without installation."""


class DaemonError(Exception):
    """A daemon did not start; the text holds what it said."""


def find_libvirtd() -> str | None:
    """The path of libvirtd, which Debian keeps out of an ordinary user's PATH; None where there is none."""
    return shutil.which("libvirtd") or shutil.which("libvirtd", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Watch:
    """Notices writing into a file (Linux's inotify)."""

    MODIFIED = 0x2

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        added = -1
        if self._descriptor >= 0:
            added = libc.inotify_add_watch(self._descriptor, os.fsencode(path), self.MODIFIED)
        if added < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {path}")

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def wait(self, seconds: float) -> bool:
        """Wait for the next writing since the last wait; return False when time is over."""
        if not select.select([self._descriptor], [], [], max(seconds, 0))[0]:
            return False
        os.read(self._descriptor, 65536)
        return True


class Daemon:
    """A child process and the addresses it serves.

    Args:
        pki: a folder with cacert.pem, servercert.pem, serverkey.pem, clientcert.pem and clientkey.pem
            (libvirt's ``pkipath`` layout); with it the daemon serves TLS too.
    """

    name = "daemon"

    passed: Sequence[int] = ()
    """Descriptors of ours that the process gets, under the same numbers."""

    def __init__(self, *, pki: Path | None = None) -> None:
        self.pki = pki
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.unix = self.directory / "libvirt-sock"
        self.unix_ro = self.directory / "libvirt-sock-ro"
        self.unix_admin = self.directory / "libvirt-admin-sock"
        self.tcp_port = 0
        self.tls_port = 0
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """The command line, and what to add to the environment."""
        raise NotImplementedError

    def _is_up(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start the process and wait until it serves.

        Raises:
            DaemonError: it ended, or did not serve within ``START_SECONDS``.
        """
        self.launch()
        self.wait_until_up()

    def launch(self) -> None:
        """Start the process."""
        command, environment = self._command()
        self._process = self._spawn(command, environment)

    def _spawn(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start the process; what it prints goes into the log."""
        with open(self._log, "wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=project_root,
                env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
                pass_fds=self.passed,
            )

    def wait_until_up(self) -> None:
        """Wait until the process serves.

        Raises:
            DaemonError: it ended, or did not serve within ``START_SECONDS``.
        """
        assert self._process is not None, "not started"
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = f"{self.name} does not serve (exit status {self._process.poll()}):\n{self.log()}"
                self.stop()
                raise DaemonError(text)
            select.select([], [], [], 0.02)

    def kill(self) -> None:
        """End the process as a power cut would; the folder stays until :meth:`stop`."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait()

    def stop(self) -> int | None:
        """End the process and remove its folder; returns its exit status. Safe to call again."""
        process, self._process = self._process, None
        status = None
        if process is not None:
            process.terminate()
            try:
                status = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        return status

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        assert self._process is not None, "not started"
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """What the daemon wrote to its standard output and error so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def wait_for_log(self, condition: Callable[[str], Any], seconds: float) -> bool:
        """Wait until the log is as wanted; it is looked at each time that the daemon has written into it.

        Args:
            condition: is told what the log says.
            seconds: how long to wait at most.

        Returns:
            Whether it is so.
        """
        with Watch(self._log) as watch:
            deadline = time.monotonic() + seconds
            while not condition(self.log()):
                if not watch.wait(deadline - time.monotonic()):
                    return bool(condition(self.log()))
            return True

    def resident_bytes(self) -> int:
        """The memory of the process that is in RAM (Linux's ``VmRSS``)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
        assert match is not None
        return int(match[1]) * 1024

    def uri(self, transport: str = "unix", path: str = "/default") -> str:
        """A libvirt URI of this daemon: transport is unix, unix-ro, tcp or tls."""
        if transport in ("unix", "unix-ro"):
            sock = self.unix if transport == "unix" else self.unix_ro
            return f"test+unix://{path}?socket={quote(str(sock))}"
        if transport == "tcp":
            return f"test+tcp://127.0.0.1:{self.tcp_port}{path}"
        if transport == "tls":
            return f"test+tls://127.0.0.1:{self.tls_port}{path}?pkipath={quote(str(self.pki))}"
        raise ValueError(transport)

    @property
    def admin_uri(self) -> str:
        """The URI of this daemon's socket for virt-admin."""
        return f"libvirtd:///system?socket={quote(str(self.unix_admin))}"


def _accepts(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1)
        with contextlib.suppress(OSError):
            probe.connect(address)
            return True
    return False


class Libvirtd(Daemon):
    """A real libvirtd without authentication, whose test driver is all it has.

    Args:
        pki: see :class:`Daemon`.
        settings: lines for libvirtd.conf beyond the addresses: integers and strings by key.
    """

    name = "libvirtd"

    def __init__(self, *, pki: Path | None = None, settings: Mapping[str, int | str] | None = None) -> None:
        super().__init__(pki=pki)
        self.settings = dict(settings or {})

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        binary = find_libvirtd()
        if binary is None:
            raise DaemonError("libvirtd is not installed (Debian: libvirt-daemon)")
        drivers = self.directory / "no-drivers"
        drivers.mkdir(exist_ok=True)
        self.tcp_port = free_port()
        config: dict[str, int | str] = {
            "unix_sock_dir": str(self.directory),
            "auth_unix_ro": "none",
            "auth_unix_rw": "none",
            "listen_addr": "127.0.0.1",
            "listen_tcp": 1,
            "tcp_port": str(self.tcp_port),
            "auth_tcp": "none",
            "listen_tls": 0,
            "log_outputs": "3:stderr",
        }
        if self.pki is not None:
            self.tls_port = free_port()
            config |= {
                "listen_tls": 1,
                "tls_port": str(self.tls_port),
                "auth_tls": "none",
                "ca_file": str(self.pki / "cacert.pem"),
                "cert_file": str(self.pki / "servercert.pem"),
                "key_file": str(self.pki / "serverkey.pem"),
            }
        config |= self.settings
        path = self.directory / "libvirtd.conf"
        path.write_text("".join(f"{key} = {_quoted(value)}\n" for key, value in config.items()))
        command = [binary, "--listen", "--config", str(path), "--pid-file", str(self.directory / "pid")]
        return command, {"LIBVIRT_DRIVER_DIR": str(drivers)}

    def _is_up(self) -> bool:
        return (
            _accepts(str(self.unix))
            and _accepts(("127.0.0.1", self.tcp_port))
            and (self.pki is None or _accepts(("127.0.0.1", self.tls_port)))
        )


def _quoted(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


class Remotevirt(Daemon):
    """``twistd -n remotevirt`` from this checkout, on ports that the system chooses.

    Args:
        pki: see :class:`Daemon`.
        driver: what ``--driver`` gets.
        options: further options of ``twistd remotevirt``.
    """

    name = "remotevirt"

    def __init__(
        self, *, pki: Path | None = None, driver: str = "test:keep", options: Sequence[str] = ()
    ) -> None:
        super().__init__(pki=pki)
        self.driver = driver
        self.options = list(options)

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        command += ["--nodaemon", "--pidfile=", "remotevirt", "--driver", self.driver]
        command += ["--listen", f"unix:{self.unix}", "--listen-ro", f"unix:{self.unix_ro}"]
        command += ["--admin-socket", str(self.unix_admin), "--listen", "tcp:0:interface=127.0.0.1"]
        if self.pki is not None:
            command += ["--listen", f"libvirttls:0:pki={self.pki}:interface=127.0.0.1"]
        command += self.options
        return command, {"PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(self.directory)}

    def _is_up(self) -> bool:
        ports = dict(self._listening())
        self.tcp_port = ports.get("tcp", 0)
        self.tls_port = ports.get("tls", 0)
        return (
            _accepts(str(self.unix))
            and _accepts(str(self.unix_ro))
            and self.tcp_port != 0
            and (self.pki is None or self.tls_port != 0)
        )

    def _listening(self) -> Iterator[tuple[str, int]]:
        """The transport and port of each "Listening on TRANSPORT:HOST:PORT" line."""
        for transport, port in re.findall(r"Listening on (tcp|tls):127\.0\.0\.1:(\d+)", self.log()):
            yield transport, int(port)
