"""The same commands to libvirtd's QEMU driver and to ours: what virsh prints, how it ends, and the events."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.interop.peers import require, run_virsh
from tests.interop.qemu_session import GuestTestCase, QemuLibvirtd, RemotevirtQemu

DEVICES = """
<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
</disk>
<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
"""

CPU = "<cpu><model>Haswell</model></cpu>"
"""One that has more than it should, and less: emulated, but for what QEMU cannot emulate."""

COMMANDS = """
set-lifecycle-action empty poweroff restart
set-lifecycle-action empty reboot destroy
set-lifecycle-action empty crash preserve --config
set-lifecycle-action empty poweroff coredump-destroy
perf empty --enable cmt,cpu_cycles --config
perf empty
perf empty --config
perf empty --live
perf empty --enable cmt --live
perf empty --disable cmt
domdirtyrate-calc empty --seconds 0
domdirtyrate-calc empty --mode dirty-ring
domstats empty --enforce --perf
domstats empty --enforce --memory
domstats empty --enforce --dirtyrate --vm
domstats empty --block
vcpucount empty --guest
domtime empty
domfsinfo empty
guestinfo empty
domhostname empty --source agent
shutdown empty --mode agent
setvcpus empty 1 --live
setvcpus empty 2 --guest
iothreadset empty 1 --poll-max-ns 5 --config
iothreadset empty 9 --poll-max-ns 5 --live
iothreadset empty 1 --thread-pool-min 2 --live
iothreadset empty 1 --thread-pool-min 4 --thread-pool-max 9
iothreadset empty 1 --thread-pool-min 1 --thread-pool-max 2 --live
iothreadset empty 1 --thread-pool-max -1 --live
iothreadset empty 1 --thread-pool-max -2 --config
iothreadset empty 1 --thread-pool-max 3 --config
iothreadset empty 1 --thread-pool-min -1 --config
iothreadset empty 1 --poll-grow 5 --thread-pool-max 5 --live --config
qemu-monitor-command empty --hmp qom-get /objects/iothread1 thread-pool-max
blkdeviotune empty vdz
blkdeviotune empty vdz --config
domblkinfo empty vda
domiftune empty 52:54:00:00:00:01 --inbound 100 --config
domifstat empty nope
domblkthreshold empty vda 1
blockresize empty vda 2M
domif-setlink empty 52:54:00:00:00:01 down --config
change-media empty sda {iso} --config
attach-disk empty {iso} vdb --config
dumpxml empty --migratable
dumpxml empty --inactive --update-cpu
dumpxml empty --xpath //cpu
domstate nobody
nodesevinfo
dump empty {dump} --memory-only
"""
"""Each differed once."""

ELSEWHERE = (
    (r"/tmp/\S+?/(empty\.\w+|dump)", r"/\1"),
    (r"(?m)^  dirtyrate.calc_start_time=.*\n", ""),
    (r"(?m)^  block\.\d\.\w+\.(reqs|bytes|times)=.*\n", ""),
    (r"(?s)\n *<resource>.*?</resource>", ""),
)
"""What is another thing in another place or at another time; libvirt puts guests into control groups."""


class ParityTests(GuestTestCase):
    """Commands in turn, to a guest that is off and to one that runs."""

    async def test_commands(self) -> None:
        """Each has the same output, the same error and the same events."""
        require("libvirtd", "libvirt-qemu", "qemu-img")
        await self.begin()
        libvirtd = QemuLibvirtd()
        self.addCleanup(libvirtd.stop)
        await deferToThread(libvirtd.start)
        for start in (False, True):
            # Side by side, since libvirtd often sleeps.
            walks = [Deferred.fromCoroutine(self.walk(daemon, start)) for daemon in (libvirtd, self.daemon)]
            theirs, ours = await gatherResults(walks, consumeErrors=True)
            differ = [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]]
            self.assertEqual([], differ, f"running: {start}")

    async def walk(self, daemon: RemotevirtQemu | QemuLibvirtd, start: bool) -> list[tuple[object, ...]]:
        """What each command leads to: exit status, output, error, and events of the guest."""
        folder = daemon.directory / "files"
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o777)
        files = {name: folder / f"empty.{name}" for name in ("disk", "iso")} | {"dump": folder / "dump"}
        self.image(str(files["disk"]), "qcow2")
        self.image(str(files["iso"]), "raw")
        settings = "<vcpu current='2'>4</vcpu><iothreads>1</iothreads>" + CPU
        path = self.empty(devices=DEVICES.format(disk=files["disk"]), daemon=daemon)
        path.write_text(path.read_text().replace("<vcpu>1</vcpu>", settings))
        watching = await self.watch(daemon)
        uri = daemon.guests_uri
        for words in (["define", str(path)], ["start", "empty", "--paused"] if start else ["list"]):
            output = await deferToThread(run_virsh, uri, *words)
            self.assertEqual(output.status, 0, output)
        if start:
            await deferToThread(run_virsh, uri, "resume", "empty")
        seen = len(await self.heard(watching, daemon))
        steps: list[tuple[object, ...]] = []
        for line in COMMANDS.strip().splitlines():
            words = shlex.split(line.format(**files))
            status, *texts = await deferToThread(run_virsh, uri, *words)
            for pattern, text in ELSEWHERE:
                texts = [re.sub(pattern, text, one) for one in texts]
            events = await self.heard(watching, daemon)
            heard = [one for one in events[seen:] if one.startswith("empty ") and "threshold" not in one]
            seen = len(events)
            steps.append((line, status, *texts, heard))
        watching.close()
        for words in (["destroy", "empty"], ["undefine", "empty"]):
            await deferToThread(run_virsh, uri, *words)
        return steps

    @staticmethod
    def image(path: str, kind: str) -> None:
        """Make an empty image that every user may write to."""
        Path(path).unlink(missing_ok=True)
        subprocess.run(["qemu-img", "create", "-q", "-f", kind, path, "1M"], check=True)
        Path(path).chmod(0o666)
