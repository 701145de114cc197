"""What guests are given: images only, at their true place, and given back to nobody but who had them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.drivers.qemu import logs
from remotevirt.drivers.qemu.access import check_allowed, exactly, give, give_back, owner_before
from remotevirt.drivers.qemu.guest import Owner
from remotevirt.drivers.qemu.launching import _give_socket, _listen, _open_output
from remotevirt.drivers.qemu.logs import KEPT, MAX_LOG, cut, log_path
from remotevirt.drivers.qemu.savefile import open_image, start_image
from remotevirt.drivers.qemu.settings import GuestUser, Settings
from remotevirt.stubs.errors import OperationDenied, VirSystemError

NOBODY = 65534


class AccessTestCase(SynchronousTestCase):
    """A folder for images, one for the driver, and one that is nobody's business."""

    def setUp(self) -> None:
        """Make them."""
        self.root = Path(os.path.realpath(self.mktemp()))
        self.images, self.state, self.other = self.root / "images", self.root / "s", self.root / "other"
        for folder in (self.images, self.state, self.other):
            folder.mkdir(parents=True)
        self.settings = Settings(self.state / "qemu", None, (self.images,))
        self.image = self.images / "disk"
        self.image.write_text("image")
        self.secret = self.other / "shadow"
        self.secret.write_text("secret")

    def denied(self, path: Path | str, *, writable: bool = True) -> None:
        """Check that a path is refused."""
        self.assertRaises(OperationDenied, owner_before, str(path), self.settings, writable=writable)


class PlaceTests(AccessTestCase):
    """Where files may be."""

    def test_inside(self) -> None:
        """A file below the folders is fine, by any name that leads there."""
        link = self.other / "link"
        link.symlink_to(self.image)
        for path in (self.image, link, f"{self.images}/../images/./disk"):
            self.assertIsNone(owner_before(str(path), self.settings, writable=True))
            self.assertEqual(str(self.image), check_allowed(str(path), self.settings))

    def test_outside(self) -> None:
        """Neither dots nor links lead out, nor does a name that begins like an allowed one."""
        link = self.images / "link"
        link.symlink_to(self.secret)
        folder = self.images / "folder"
        folder.symlink_to(self.other)
        beside = self.root / "images-not"
        beside.write_text("")
        for path in (self.secret, f"{self.images}/../other/shadow", link, folder / "shadow", beside):
            self.denied(path)
            self.denied(path, writable=False)
        self.assertRaises(OperationDenied, check_allowed, str(folder / "new"), self.settings)

    def test_harmless(self) -> None:
        """Firmware and sources of noise need no permission; but firmware is only read."""
        self.assertEqual("/dev/urandom", check_allowed("/dev/urandom", self.settings))
        check_allowed("/usr/share/OVMF/x", self.settings, writable=False)
        self.assertRaises(OperationDenied, check_allowed, "/usr/share/OVMF/x", self.settings)

    def test_kinds(self) -> None:
        """Folders, pipes and sockets are no images."""
        os.mkfifo(self.images / "pipe")
        (self.images / "folder").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            folder = os.open(self.images, os.O_PATH)
            self.addCleanup(os.close, folder)
            listener.bind(f"/proc/self/fd/{folder}/socket")
        for name in ("pipe", "folder", "socket"):
            self.denied(self.images / name)
        error = self.assertRaises(
            VirSystemError, owner_before, str(self.images / "none"), self.settings, writable=True
        )
        self.assertIn("No such file or directory", error.message)

    def test_output(self) -> None:
        """What devices print goes into regular files below the folders, and a link there is not followed."""
        target = self.images / "printed"
        os.close(_open_output(str(target), self.settings, append=False))
        self.assertRaises(OperationDenied, _open_output, str(self.secret), self.settings, append=False)
        os.mkfifo(self.images / "pipe")
        self.assertRaises(
            (OSError, OperationDenied), _open_output, str(self.images / "pipe"), self.settings, append=True
        )
        self.assertEqual("secret", self.secret.read_text())

    def test_socket(self) -> None:
        """A socket takes the place of a socket, and of nothing else."""
        path = Path(os.path.relpath(self.images)) / "line"
        for _ in range(2):
            os.close(_listen(str(path), self.settings))
        path.unlink()
        path.write_text("mine")
        self.assertRaises(OSError, _listen, str(path), self.settings)
        self.assertEqual("mine", path.read_text())

    def test_socket_swapped(self) -> None:
        """A socket is given away only if it is the new one of ours, whatever is in its place."""
        folder = self.opened(self.images)
        user = GuestUser(NOBODY, NOBODY) if os.geteuid() == 0 else GuestUser(os.geteuid(), os.getegid())
        os.close(_listen(os.path.relpath(self.other / "line"), Settings(self.state / "qemu")))
        other = self.other / "line"
        (self.images / "link").symlink_to(other)
        os.link(other, self.images / "name")
        os.mkfifo(self.images / "pipe")
        for name in ("link", "name", "pipe"):
            self.assertRaises(OSError, _give_socket, name, folder, user)
        self.assertEqual((os.geteuid(), 0o600), (other.stat().st_uid, other.stat().st_mode & 0o777))
        (self.images / "name").unlink()
        _give_socket("line", self.opened(self.other), user)
        self.assertEqual(user.uid, other.stat().st_uid)

    def opened(self, folder: Path) -> int:
        """A descriptor of a folder."""
        descriptor = os.open(folder, os.O_PATH)
        self.addCleanup(os.close, descriptor)
        return descriptor

    def test_saved(self) -> None:
        """A guest is saved into a regular file, which is emptied only when that is certain."""
        link = self.images / "link"
        link.symlink_to(self.secret)
        self.assertRaises(VirSystemError, start_image, str(link), "<a/>", running=True, over=True)
        self.assertRaises(VirSystemError, open_image, str(link))
        folder = self.images / "folder"
        folder.symlink_to(self.other)
        swapped = str(folder / "shadow")
        self.assertRaises(VirSystemError, start_image, swapped, "<a/>", running=True, over=True)
        self.assertEqual("secret", self.secret.read_text())


class OwnerTests(AccessTestCase):
    """Whose files are."""

    def setUp(self) -> None:
        """Guests run as another user; only root can give files away."""
        super().setUp()
        user = GuestUser(NOBODY, NOBODY) if os.geteuid() == 0 else GuestUser(os.geteuid(), os.getegid())
        self.settings = attrs.evolve(self.settings, user=user)
        self.before = Owner(str(self.image), os.geteuid(), os.getegid())

    def test_swapped(self) -> None:
        """A folder that has become a link since it was looked at changes nobody's owner."""
        folder = self.images / "folder"
        folder.mkdir()
        (folder / "shadow").write_text("")
        owner = Owner(str(folder / "shadow"), os.geteuid(), os.getegid())
        (folder / "shadow").unlink()
        folder.rmdir()
        folder.symlink_to(self.other)
        self.assertRaises(VirSystemError, give, owner, self.settings)
        give_back([attrs.evolve(owner, uid=1)], self.settings)
        self.assertEqual(os.geteuid(), self.secret.stat().st_uid)
        self.flushLoggedErrors()

    def test_given_and_back(self) -> None:
        """A file is the guests' user's for a while; who has it then is as before."""
        if os.geteuid() != 0:
            give(self.before, self.settings)
            self.assertEqual(os.geteuid(), self.image.stat().st_uid)
            return
        give(self.before, self.settings)
        self.assertEqual((NOBODY, NOBODY), self.image.stat()[4:6])
        give_back([self.before], self.settings)
        self.assertEqual((0, 0), self.image.stat()[4:6])

    def test_not_theirs(self) -> None:
        """A file that is no longer the guests' user's is not given to who had it."""
        settings = attrs.evolve(self.settings, user=GuestUser(12345, 12345))
        give_back([attrs.evolve(self.before, uid=1, gid=1)], settings)
        self.assertEqual(os.geteuid(), self.image.stat().st_uid)

    def test_link(self) -> None:
        """A link itself is not what was meant."""
        link = self.images / "link"
        link.symlink_to(self.image)
        with self.assertRaises(OSError), exactly(str(link)):
            pass


class LogTests(AccessTestCase):
    """Logs."""

    def test_cut(self) -> None:
        """A log that has grown too long keeps its end; QEMU goes on behind that."""
        path = self.other / "log"
        with open(path, "ab", buffering=0) as qemu:
            qemu.write(b"x" * MAX_LOG)
            cut(path)
            self.assertEqual(MAX_LOG, path.stat().st_size)
            qemu.write(b"end")
            cut(path)
            self.assertEqual(KEPT, path.stat().st_size)
            qemu.write(b" more")
        self.assertTrue(path.read_bytes().endswith(b"xend more"))

    def test_all_at_the_start(self) -> None:
        """The first look is at all logs, also of guests that have ended; then at some."""

        def at_once(place: str, work: Any) -> Any:
            async def done() -> None:
                work(None)

            return done()

        self.patch(logs, "surely_in_thread", at_once)
        ended, runs = self.other / "ended.log", self.other / "runs.log"
        clock = Clock()
        looking = logs.Logs(clock, self.other, lambda: [runs])
        for path in (ended, runs):
            path.write_bytes(b"x" * (MAX_LOG + 1))
        looking.start()
        self.addCleanup(looking.stop)
        self.assertEqual([KEPT, KEPT], [path.stat().st_size for path in (ended, runs)])
        for path in (ended, runs):
            path.write_bytes(b"x" * (MAX_LOG + 1))
        clock.advance(logs.LOOK_SECONDS)
        self.assertEqual([MAX_LOG + 1, KEPT], [path.stat().st_size for path in (ended, runs)])

    def test_names(self) -> None:
        """No name leads out of the folder, or is too long for a file."""
        for name in ("../../etc/passwd", "..", "a/b", "ä" * 500, "x" * 1024, "a\tb", "-n", "$(reboot);'\""):
            path = log_path(self.settings, name)
            self.assertEqual(self.settings.log, path.parent)
            self.assertNotIn("/", path.name)
            self.assertLessEqual(len(os.fsencode(path.name)), 255)
