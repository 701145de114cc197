"""virsh manages real storage through remotevirt, word for word as through a real libvirtd."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.daemons import Remotevirt
from tests.interop.peers import Output, require, run
from tests.interop.storage_session import RECORD, transcript

DRIVER = "tests.storage_driver:StorageOnly"
MIB = 1024**2


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

    def start(self) -> Remotevirt:
        """Start a daemon."""
        daemon = Remotevirt(driver=DRIVER, options=["--state", str(self.state)])
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
