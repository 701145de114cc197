"""The real peers that interop tests talk with, and what to do when one is missing.

A machine without a peer skips the tests that need it, and the report says which package to install; with
``CI=true`` in the environment a missing peer fails them instead, so that no continuous run is green by
accident.
"""

from __future__ import annotations

import ctypes.util
import ipaddress
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import trustme
from twisted.trial.unittest import FailTest, SkipTest

from tests.interop.daemons import find_libvirtd

__all__ = [
    "PYTHON",
    "Output",
    "Running",
    "find_program",
    "make_pki",
    "require",
    "run",
    "run_python",
    "run_virsh",
]

PYTHON = "/usr/bin/python3"
"""The interpreter that Debian's python3-libvirt belongs to."""

PLAIN = {"LC_ALL": "C", "LANGUAGE": "C"}
"""For clients: no translated texts."""

TIMEOUT = 30.0
"""Seconds that one command of a client may take."""


class Output(NamedTuple):
    """What a finished command left."""

    status: int
    out: str
    err: str


def run(command: Sequence[str], *, stdin: str = "", timeout: float = TIMEOUT) -> Output:
    """Run a client to its end, in the C locale; a client that takes too long is ended and fails the test."""
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **PLAIN},
    )
    return Output(done.returncode, done.stdout, done.stderr)


def run_virsh(uri: str, *arguments: str, readonly: bool = False, stdin: str = "") -> Output:
    """Run one ``virsh`` command; without arguments virsh reads commands from ``stdin``."""
    return run(["virsh", *(["-r"] if readonly else []), "-c", uri, *arguments], stdin=stdin)


class Running:
    """A client that runs beside the test, and the lines it has printed so far."""

    def __init__(self, command: Sequence[str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        # virsh writes to a pipe in large blocks unless told otherwise.
        self._process = subprocess.Popen(
            ["stdbuf", "-oL", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **PLAIN},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def _has(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def saw(self, text: str, within: float = 0.5) -> bool:
        """Whether a line with this text is printed within so many seconds, or was before."""
        with self._news:
            return self._news.wait_for(lambda: self._has(text), within)

    def wait_for(self, text: str) -> None:
        """Wait until a line with this text is printed.

        Raises:
            FailTest: it was not, within the time that a command may take.
        """
        if not self.saw(text, TIMEOUT):
            raise FailTest(f"no line with {text!r} in:\n" + "\n".join(self.lines))

    def type(self, line: str) -> None:
        """Give it a line on its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """End the client."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def run_python(script: str, *arguments: str) -> Output:
    """Run a script with the interpreter that has libvirt's Python binding."""
    return run([PYTHON, "-c", script, *arguments])


@cache
def _has_binding() -> bool:
    return Path(PYTHON).exists() and run([PYTHON, "-c", "import libvirt"]).status == 0


def find_program(name: str) -> str | None:
    """The path of a program, which Debian may keep out of an ordinary user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _has_plugin(name: str) -> bool:
    """Whether Cyrus SASL, which libvirt's clients use, has a mechanism."""
    return any(Path("/usr/lib").glob(f"*/sasl2/{name}.so"))


PEERS: dict[str, tuple[Callable[[], bool], str]] = {
    "virsh": (lambda: shutil.which("virsh") is not None, "libvirt-clients"),
    "virt-admin": (lambda: shutil.which("virt-admin") is not None, "libvirt-clients"),
    "libvirtd": (lambda: find_libvirtd() is not None, "libvirt-daemon, libvirt-daemon-system"),
    "libvirt-qemu": (
        lambda: any(Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_qemu.so")),
        "libvirt-daemon-driver-qemu",
    ),
    "virt-install": (lambda: shutil.which("virt-install") is not None, "virtinst"),
    "virt-pki-query-dn": (lambda: shutil.which("virt-pki-query-dn") is not None, "libvirt-clients"),
    "certtool": (lambda: shutil.which("certtool") is not None, "gnutls-bin"),
    "gnutls-cli": (lambda: shutil.which("gnutls-cli") is not None, "gnutls-bin"),
    "libgnutls": (lambda: ctypes.util.find_library("gnutls") is not None, "libgnutls30"),
    "libvirt-python": (_has_binding, "python3-libvirt"),
    "chromium": (lambda: shutil.which("chromium") is not None, "chromium"),
    "scram": (lambda: _has_plugin("libscram"), "libsasl2-modules"),
    "kerberos": (
        lambda: (
            _has_plugin("libgssapiv2")
            and all(map(find_program, ("krb5kdc", "kadmin.local", "kdb5_util", "kinit")))
            and find_spec("gssapi") is not None
        ),
        "krb5-kdc, krb5-admin-server, krb5-user, libkrb5-dev, libsasl2-modules-gssapi-mit; extra gssapi",
    ),
    "qemu-img": (lambda: shutil.which("qemu-img") is not None, "qemu-utils"),
    "cc": (lambda: shutil.which("cc") is not None, "gcc, libc6-dev"),
    "qemu-system-x86_64": (lambda: shutil.which("qemu-system-x86_64") is not None, "qemu-system-x86"),
    "syslinux": (lambda: shutil.which("syslinux") is not None, "syslinux"),
    "mtools": (lambda: shutil.which("mformat") is not None, "mtools"),
    "ovmf": (lambda: Path("/usr/share/OVMF/OVMF_CODE_4M.fd").exists(), "ovmf"),
    "qemu-system-aarch64": (lambda: shutil.which("qemu-system-aarch64") is not None, "qemu-system-arm"),
    "aavmf": (lambda: Path("/usr/share/AAVMF/AAVMF_CODE.fd").exists(), "qemu-efi-aarch64"),
    "strace": (lambda: shutil.which("strace") is not None, "strace"),
}
"""Each peer: whether it is here, and the Debian packages that bring it."""


def require(*names: str) -> None:
    """Skip the running test, or with ``CI=true`` fail it, unless all of these peers are installed."""
    for name in names:
        present, packages = PEERS[name]
        if not present():
            text = f"{name} is not installed (Debian: {packages})"
            raise FailTest(text) if os.environ.get("CI") == "true" else SkipTest(text)


def make_pki(folder: Path) -> Path:
    """Make a certificate authority, a server's and a client's certificate, laid out as libvirt's ``pkipath``.

    Returns:
        the folder, with cacert.pem, servercert.pem, serverkey.pem, clientcert.pem and clientkey.pem.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="remotevirt tests")
    authority.cert_pem.write_to_path(str(folder / "cacert.pem"))
    server = authority.issue_cert(
        "localhost", str(ipaddress.IPv4Address("127.0.0.1")), common_name="localhost"
    )
    client = authority.issue_cert("client@example.org", common_name="client")
    for name, leaf in (("server", server), ("client", client)):
        leaf.private_key_pem.write_to_path(str(folder / f"{name}key.pem"))
        leaf.cert_chain_pems[0].write_to_path(str(folder / f"{name}cert.pem"))
    return folder
