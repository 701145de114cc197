"""Real guests: remotevirt's QEMU driver beside libvirtd's, in one run.

``python -m benchmarks.qemu`` starts a private libvirtd and ``twistd remotevirt --driver qemu``, and has both
do the same with the same QEMU: start a guest with Linux and wait for the first byte on its console; call it
while it runs; start so many small guests that stay paused, before their first instruction; be killed and
started anew, and find them again.

Guests are emulated (TCG), so that the figures do not depend on KVM. libvirtd has to be root's, since its QEMU
driver has fixed folders; it runs in a mount namespace in which these are folders of this program's. It has no
other driver and no security driver. Neither daemon uses cgroups. All guests are killed in the end, by their
process ids.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from benchmarks.scale import Figures, call, shown, simple_table, timed
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import DomainGetXmlDescRet, NonnullDomain
from tests.interop.daemons import Daemon, DaemonError, Libvirtd, Remotevirt
from tests.qemu_guests import KERNEL_ARGS, guest_initrd, guest_kernel
from tests.wire import WireClient

__all__ = ["main", "measure"]

GUESTS = 50

STARTS = 5
"""Guests that are started one after the other, for the time that takes."""

URI = "qemu:///system"

BOOT_SECONDS = 60.0
"""How long the first byte on a console may take."""

LIBVIRT_FOLDERS = ("/run", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt")
"""What libvirtd's QEMU driver uses, wherever its sockets are."""

QEMU_CONF = """\
user = "+0"
group = "+0"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
remember_owner = 0
"""
"""As root, since libvirtd probes QEMU before each start where only root may use KVM."""

ROWS = {
    "start": "start a guest",
    "byte": "until the first byte on its console",
    "info": "domain_get_info, of a running guest",
    "state": "domain_get_state",
    "xml": "domain_get_xml_desc",
    "monitor": "domain_memory_stats, which asks QEMU",
    "create": "create a small guest, paused",
    "each": "the daemon's memory for each",
    "memory": "the daemon's memory without guests",
    "empty": "start of the daemon, no guests",
    "again": "after a kill, with the small guests",
}

DOCUMENT = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <serial type='pty'/>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""

_PTY = re.compile(r"<source path='(/dev/pts/\d+)'/>")

# libvirtd closes every number that a descriptor may have before it runs a program: a low limit is fair.
_MOUNT = """\
import os, resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))
split = sys.argv.index("--")
for pair in sys.argv[1:split]:
    inside, place = pair.split(":")
    subprocess.run(["mount", "--bind", inside, place], check=True)
os.execv(sys.argv[split + 1], sys.argv[split + 1:])
"""


class QemuLibvirtd(Libvirtd):
    """A libvirtd with its QEMU driver, and folders of its own under the names that the driver insists on."""

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command, environment = super()._command()
        self.directory.chmod(0o711)
        drivers = Path(environment["LIBVIRT_DRIVER_DIR"])
        module = next(Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_qemu.so"), None)
        if module is None:
            raise DaemonError("libvirt's QEMU driver is not installed (Debian: libvirt-daemon-driver-qemu)")
        with suppress(FileExistsError):
            (drivers / module.name).symlink_to(module)
        pairs = []
        for place in LIBVIRT_FOLDERS:
            inside = self.directory / place.strip("/").replace("/", "-")
            inside.mkdir(exist_ok=True)
            inside.chmod(0o755)
            pairs.append(f"{inside}:{place}")
        (self.directory / "etc-libvirt/qemu.conf").write_text(QEMU_CONF)
        wrapper = ["unshare", "--mount", "--", sys.executable, "-c", _MOUNT, *pairs, "--"]
        return [*wrapper, *command], environment


class QemuRemotevirt(Remotevirt):
    """remotevirt with its QEMU driver; what it keeps is in its folder."""

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        self.directory.chmod(0o711)
        state = self.directory / "state"
        state.mkdir(exist_ok=True)
        state.chmod(0o711)
        self.driver, self.options = "qemu:cgroups=off", ["--state", str(state)]
        return super()._command()


def reference(name: str) -> NonnullDomain:
    """The reference to a domain of ours."""
    return NonnullDomain(name, uuid5(NAMESPACE_URL, name).bytes, -1)


def linux(name: str) -> str:
    """The document of a guest that boots, and says so from early on."""
    kernel, initrd = guest_kernel(), guest_initrd()
    arguments = KERNEL_ARGS.replace("quiet", "earlyprintk=ttyS0")
    boot = f"<kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{arguments}</cmdline>"
    return DOCUMENT.format(name=name, uuid=uuid5(NAMESPACE_URL, name), memory=128, boot=boot)


def small(name: str) -> str:
    """The document of a guest that will never run."""
    return DOCUMENT.format(name=name, uuid=uuid5(NAMESPACE_URL, name), memory=16, boot="")


@contextmanager
def connected(daemon: Daemon) -> Iterator[WireClient]:
    """A client of a daemon's QEMU driver."""
    with WireClient(str(daemon.unix), timeout=120) as client:
        client.open(URI)
        yield client


def start_and_listen(client: WireClient, name: str) -> tuple[float, float]:
    """Start a guest; returns the seconds until that was answered, and until its console had a byte."""
    began = time.perf_counter()
    call(client, "domain_create", reference(name))
    answered = time.perf_counter() - began
    payload = call(client, "domain_get_xml_desc", reference(name), 0)
    found = _PTY.search(DomainGetXmlDescRet.unpack(payload, 0)[0].xml)
    assert found is not None, "the guest has no pty"
    console = os.open(found[1], os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        ready, _, _ = select.select([console], [], [], BOOT_SECONDS)
        assert ready, "nothing on the console"
        return answered, time.perf_counter() - began
    finally:
        os.close(console)


def measure(daemon: Daemon, count: int) -> Figures:
    """Measure a daemon, from its start to its end.

    Args:
        daemon: one that has not been started.
        count: of small guests.
    """
    figures: Figures = {}
    with daemon:
        try:
            with connected(daemon) as client:
                starts = []
                call(client, "domain_define_xml", linux("linux"))
                for turn in range(STARTS):
                    starts.append(start_and_listen(client, "linux"))
                    if turn < STARTS - 1:
                        call(client, "domain_destroy", reference("linux"))
                figures["start"], figures["byte"] = map(statistics.median, zip(*starts, strict=True))
                running = reference("linux")
                figures["info"] = timed(lambda _: call(client, "domain_get_info", running))
                figures["state"] = timed(lambda _: call(client, "domain_get_state", running, 0))
                figures["xml"] = timed(lambda _: call(client, "domain_get_xml_desc", running, 0))
                figures["monitor"] = timed(lambda _: call(client, "domain_memory_stats", running, 14, 0))
                call(client, "domain_destroy", running)
                began = time.perf_counter()
                for number in range(count):
                    call(client, "domain_create_xml", small(f"small-{number}"), c.VIR_DOMAIN_START_PAUSED)
                figures["create"] = (time.perf_counter() - began) / count
            daemon.kill()
            figures["again"], full = _start_and_find(daemon, count)
            _end_guests(daemon)
            daemon.kill()
            figures["empty"], figures["memory"] = _start_and_find(daemon, 0)
            figures["each"] = (full - figures["memory"]) / count
        finally:
            _end_guests(daemon)
    return figures


def _start_and_find(daemon: Daemon, count: int) -> tuple[float, float]:
    """Start a daemon.

    Returns:
        The seconds until so many guests have each answered through it, and the bytes that it holds then.
    """
    began = time.perf_counter()
    daemon.start()
    with connected(daemon) as client:
        for number in range(count):
            call(client, "domain_memory_stats", reference(f"small-{number}"), 14, 0)
        if not count:
            call(client, "connect_list_all_domains", 1, 0)
        return time.perf_counter() - began, float(daemon.resident_bytes())


def _end_guests(daemon: Daemon) -> None:
    """Kill the guests of a daemon: the QEMUs that the pid files below its folder name."""
    folder = daemon.directory
    for file in [*folder.glob("run/libvirt/qemu/*.pid"), *folder.glob("state/qemu/run/*/qemu.pid")]:
        with suppress(OSError, ValueError):
            pid = int(file.read_text())
            process = os.pidfd_open(pid)
            try:
                if b"qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    select.select([process], [], [], BOOT_SECONDS)
            finally:
                os.close(process)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.qemu", description="Measure QEMU drivers.")
    parser.add_argument("--guests", type=int, default=GUESTS, help=f"small guests ({GUESTS})")
    chosen = parser.parse_args(arguments)
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        print("qemu: libvirtd's QEMU driver needs root and unshare", file=sys.stderr)
        return 2
    try:
        columns = {
            daemon.name: measure(daemon, chosen.guests) for daemon in (QemuLibvirtd(), QemuRemotevirt())
        }
    except DaemonError as error:
        print(f"qemu: {error}", file=sys.stderr)
        return 2
    print(render(columns))
    return 0


def render(columns: Mapping[str, Figures]) -> str:
    """A table in reStructuredText: libvirtd's figures, ours, and ours in theirs."""
    theirs, ours = columns.values()
    table = [["", *columns, "ratio"]]
    for row, text in ROWS.items():
        cells = [
            f"{value / 1024:.0f} KiB" if row == "each" else shown(row, value)
            for value in (theirs[row], ours[row])
        ]
        table.append([text, *cells, f"{ours[row] / theirs[row]:.2f}"])
    return simple_table(table)


if __name__ == "__main__":
    sys.exit(main())
