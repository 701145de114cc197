"""The monitor on real sockets, and of a real QEMU."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase

from remotevirt.drivers.qemu.monitor import connect, qmp_class
from remotevirt.errors import VirError
from remotevirt.stubs.errors import InternalError, OperationTimeout, VirSystemError

QEMU = shutil.which("qemu-system-x86_64")


class ConnectTests(TestCase):
    """On real sockets."""

    async def test_nobody_there(self) -> None:
        directory = tempfile.mkdtemp(prefix="qmp-")  # a short path: a socket's address has 107 bytes
        self.addCleanup(shutil.rmtree, directory)
        path = os.path.join(directory, "monitor")
        error = await self.assertFailure(ensureDeferred(connect(reactor, path, timeout=5)), VirSystemError)
        self.assertEqual("failed to connect to monitor socket: No such file or directory", error.message)


@skipUnless(QEMU, "needs qemu-system-x86_64")
class QemuTests(TestCase):
    """A real QEMU, which listens on a socket that was there before it."""

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="qmp-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "monitor")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(1)
            number = listener.fileno()
            argv = [QEMU, "-machine", "none", "-nodefaults", "-display", "none", "-S"]
            argv += [
                "-chardev",
                f"socket,id=m,fd={number},server=on,wait=off",
                "-mon",
                "chardev=m,mode=control",
            ]
            self.process = subprocess.Popen(argv, pass_fds=[number], stdin=subprocess.DEVNULL)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Leave no process behind."""
        self.process.kill()
        self.process.wait()

    async def test_conversation(self) -> None:
        events: list[str] = []
        closed: Deferred[VirError] = Deferred()
        monitor = await connect(
            reactor,
            self.path,
            timeout=60,
            on_event=lambda name, *_: events.append(name),
            on_close=closed.callback,
        )
        self.assertTrue(monitor.oob)
        status, schema = monitor.execute("query-status"), monitor.execute("query-qmp-schema")
        self.assertEqual("prelaunch", (await status)["status"])
        self.assertGreater(len(await schema), 500)
        error = await self.assertFailure(monitor.execute("nothing"), InternalError)
        text = "unable to execute QEMU command 'nothing': The command nothing has not been found"
        self.assertEqual(f"internal error: {text}", error.message)
        self.assertEqual("CommandNotFound", qmp_class(error))
        # QEMU's parser refuses this character, and cannot say whose it was.
        unreadable = monitor.execute("qom-get", {"path": "\uffff", "property": "x"})
        after = monitor.execute("query-status")
        await self.assertFailure(unreadable, InternalError)
        self.assertEqual("prelaunch", (await after)["status"])
        reading, writing = os.pipe()
        files = [monitor.execute("getfd", {"fdname": name}, files=[writing]) for name in "ab"]
        os.close(writing)
        self.assertEqual([{}, {}], [await one for one in files])
        await monitor.execute("closefd", {"fdname": "a"})
        await monitor.execute("closefd", {"fdname": "b"})
        self.assertEqual(b"", os.read(reading, 1))
        os.close(reading)
        await monitor.execute("quit")
        self.assertEqual("internal error: End of file from qemu monitor", (await closed).message)
        self.assertIn("SHUTDOWN", events)

    async def test_stopped(self) -> None:
        """A QEMU that is stopped and goes on, and that meets the next daemon."""
        monitor = await connect(reactor, self.path, timeout=60)
        self.process.send_signal(signal.SIGSTOP)
        late = monitor.execute("query-status", timeout=0.05)
        after = monitor.execute("query-status", timeout=None)
        await self.assertFailure(late, OperationTimeout)
        self.assertTrue(monitor.wedged)
        self.process.send_signal(signal.SIGCONT)
        self.assertEqual("prelaunch", (await after)["status"])
        self.assertFalse(monitor.wedged)
        monitor.close()
        again = await connect(reactor, self.path, timeout=60)
        self.assertEqual("prelaunch", (await again.execute("query-status"))["status"])
        again.close()
