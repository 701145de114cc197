"""virsh manages real storage through remotevirt, word for word as through a real libvirtd."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.daemons import Remotevirt
from tests.interop.peers import Output, require, run
from tests.interop.spaces import Space, require_space
from tests.interop.storage_session import RECORD, transcript

DRIVER = "tests.storage_driver:StorageOnly"
MIB = 1024**2

MOUNTING = (
    ("--mount",),
    "import os, subprocess, tempfile\n"
    "with tempfile.NamedTemporaryFile() as disk, tempfile.TemporaryDirectory() as place:\n"
    "    disk.truncate(1 << 23)\n"
    "    for words in f'mkfs -q -t ext4 {disk.name}', f'mount {disk.name} {place}', f'umount {place}':\n"
    "        subprocess.run(words.split(), check=True)\n",
)
"""A namespace in which a file can be mounted."""


class Entering(Remotevirt):
    """A daemon in a namespace, if it is given one."""

    space: Space | None = None

    def _command(self) -> tuple[Sequence[str], Mapping[str, str]]:
        command, environment = super()._command()
        return [*(self.space.enter() if self.space is not None else ()), *command], environment


class StorageTests(SynchronousTestCase):
    """A daemon whose storage lasts."""

    def setUp(self) -> None:
        require("virsh")
        require("qemu-img")
        self.folder = Path(tempfile.mkdtemp(prefix="storage-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.state = self.folder / "state"
        self.state.mkdir(mode=0o700)
        self.daemon = self.start()

    def start(self, space: Space | None = None) -> Remotevirt:
        """Start a daemon."""
        daemon = Entering(driver=DRIVER, options=["--state", str(self.state)])
        daemon.space = space
        self.addCleanup(daemon.stop)
        daemon.start()
        return daemon

    def virsh(self, *words: str) -> Output:
        """Run virsh."""
        return run(["virsh", "-c", self.daemon.uri(), *words])

    def works(self, *words: str) -> str:
        """Run virsh, which must succeed."""
        done = self.virsh(*words)
        self.assertEqual((0, ""), (done.status, done.err), words)
        return done.out

    def test_file_systems(self) -> None:
        """A file system is made, mounted, found again by the next daemon, and unmounted; nothing else is."""
        require_space(*MOUNTING)
        space = Space(*MOUNTING)
        self.addCleanup(space.close)
        self.daemon.kill()
        self.daemon = self.start(space)
        disk, place = self.folder / "disk", self.folder / "f"
        with disk.open("wb") as file:
            file.truncate(32 * MIB)
        self.works(*f"pool-define-as f fs --source-dev {disk} --source-format ext4 --target {place}".split())
        self.works("pool-build", "f", "--no-overwrite")
        refused = self.virsh("pool-build", "f", "--no-overwrite").err
        self.assertIn(f"Storage pool already built: Device '{disk}' already formatted using 'ext4'", refused)
        self.works("pool-start", "f")
        self.assertIn("storage pool 'f' is already active", self.virsh("pool-build", "f", "--overwrite").err)
        self.works("vol-create-as", "f", "v", "1M")
        self.assertEqual([], os.listdir(place))
        self.daemon.kill()
        self.daemon = self.start(space)
        self.assertIn(f"{place}/v", self.works("vol-list", "f"))
        self.works("pool-destroy", "f")
        mounts = [*space.enter(), "cat", "/proc/self/mounts"]
        self.assertNotIn(str(place), run(mounts).out)
        self.works("pool-build", "f", "--overwrite")
        self.works("pool-start", "f")
        self.assertNotIn(f"{place}/v", self.works("vol-list", "f"))
        self.works("pool-destroy", "f")

        run([*space.enter(), "mount", "-t", "tmpfs", "other", str(place)])
        self.assertIn("is not active", self.virsh("pool-destroy", "f").err)
        self.works("pool-start", "f")
        self.works("pool-destroy", "f")
        self.assertIn(f"other {place} tmpfs", run(mounts).out)

    def test_word_for_word(self) -> None:
        expected = RECORD.read_text().split("$ ")
        for mine, theirs in zip(transcript(self.daemon.uri()).split("$ "), expected, strict=True):
            self.assertEqual(theirs, mine)
        self.assertNotIn("Traceback", self.daemon.log())

    def test_streams(self) -> None:
        """What goes in comes out again, with its holes."""
        source, back = self.folder / "source", self.folder / "back"
        with source.open("wb") as file:
            file.write(os.urandom(3 * MIB))
            file.seek(60 * MIB)
            file.write(os.urandom(MIB + 7))
            file.truncate(64 * MIB)
        self.works("pool-create-as", "p", "dir", "--target", str(self.folder / "p"), "--build")
        for name, sparse in (("full", ()), ("thin", ("--sparse",))):
            self.works("vol-create-as", "p", name, "64M", "--allocation", "0")
            self.works("vol-upload", name, str(source), "--pool", "p", *sparse)
            self.works("vol-download", name, str(back), "--pool", "p", *sparse)
            self.assertEqual(source.read_bytes(), back.read_bytes())
        for path in (back, self.folder / "p" / "thin"):
            self.assertLess(path.stat().st_blocks * 512, 8 * MIB)
        self.works("vol-download", "thin", str(back), "--pool", "p", "--offset", "10", "--length", "100")
        self.assertEqual(source.read_bytes()[10:110], back.read_bytes())

    def test_daemon_that_dies(self) -> None:
        """Active pools are active again, and nothing half made is there."""
        path = self.folder / "p"
        self.works("pool-create-as", "p", "dir", "--target", str(path), "--build")
        self.works("pool-define-as", "d", "dir", "--target", str(self.folder / "d"))
        self.works("vol-create-as", "p", "v", "1M", "--format", "qcow2")
        draft = path / ".remotevirt-draft-0"
        draft.mkdir()
        (draft / "half").touch()
        self.daemon.kill()
        self.daemon = self.start()
        self.assertIn("v", self.works("vol-list", "p"))
        self.assertIn("inactive", self.works("pool-info", "d"))
        self.assertEqual(["v"], os.listdir(path))
