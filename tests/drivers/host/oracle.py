"""A libvirtd with all of its drivers, that sees a host of ours and touches nothing of the real one.

It runs in a mount namespace of its own (and, for who is not root, a user namespace), where its folders are
empty ones of ours. A tree can be shown to it in place of /sys and some of /proc; then udev's library is told
not to insist on a real sysfs.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from twisted.trial.unittest import FailTest, SkipTest

from tests.interop.daemons import Libvirtd

__all__ = ["HostLibvirtd", "require_namespaces"]

FOLDERS = ("/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/etc/libvirt")
"""What a libvirtd for the whole machine writes."""

SHOWN = ("/sys", "/run/udev", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/usr/share/misc/pci.ids")
"""What of a tree is put in place of the host's."""


def _unshare() -> list[str]:
    return ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


@cache
def _has_namespaces() -> bool:
    done = subprocess.run([*_unshare(), "true"], capture_output=True, check=False)
    return done.returncode == 0


def require_namespaces() -> None:
    """Leave out a test that needs mount namespaces where there are none; with CI=true it fails."""
    if not _has_namespaces():
        text = "the system gives us no mount namespace, which a private libvirtd needs"
        raise FailTest(text) if os.environ.get("CI") == "true" else SkipTest(text)


class HostLibvirtd(Libvirtd):
    """A libvirtd with its QEMU, node device and interface drivers.

    Args:
        tree: a host to see in place of the real one.
    """

    def __init__(self, tree: Path | None = None) -> None:
        super().__init__()
        self.tree = tree

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command, _ = super()._command()
        binds = []
        for folder in FOLDERS:
            mine = self.directory / folder.replace("/", "_")
            mine.mkdir(exist_ok=True)
            binds.append((str(mine), folder))
        environment = {}
        if self.tree is not None:
            binds += [(f"{self.tree}{name}", name) for name in SHOWN]
            # KVM would be asked for the counter of the real machine.
            binds.append(("/dev/null", "/dev/kvm"))
            environment["SYSTEMD_DEVICE_VERIFY_SYSFS"] = "0"
        script = [f"test ! -e {to} || mount --bind {shlex.quote(of)} {to}" for of, to in binds]
        folders = [f"mkdir -p {' '.join(FOLDERS)} /run/udev 2>/dev/null || true"]
        text = "\n".join(["set -e", *folders, *script, f"exec {shlex.join(command)}"])
        return [*_unshare(), "sh", "-c", text], environment

    @property
    def qemu_uri(self) -> str:
        """The URI of its QEMU driver."""
        return f"qemu+unix:///system?socket={self.unix}"
