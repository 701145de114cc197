"""Where the commands run of the page about real guests: with an image to boot, and a terminal for consoles.

A block of class ``guest`` is what somebody does in a guest's console: its first line is the command that
opens the console, lines behind ``#`` are typed there, and the others are what the guest prints.

The image is that of :mod:`tests.qemu_guests`. A guest of it says when it has booted, echoes nothing, and
tells how each command has ended; no more than this is left out of what the page must show.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.docs.pages import Step, expected_pattern
from tests.docs.sandbox import OUTPUT_MAXIMUM, PORTS, STEP_SECONDS, Sandbox
from tests.qemu_guests import BOOT_TIMEOUT, boot_disk

__all__ = ["IMAGE", "PEERS", "GuestSandbox"]

IMAGE = "disk.img"
"""What the page calls the reader's image."""

PEERS = ("virt-install", "qemu-system-x86_64", "qemu-img", "syslinux", "mtools")
"""What its commands need."""

ESCAPE = b"\x1d"
"""The key that virsh ends a console at, ``^]``."""

LOCAL_MODES = 3
"""Where a terminal's attributes have those that tell how it treats what is typed."""

LOOK_SECONDS = 0.02
"""How often to look at them: nobody tells when they change."""

_READY = re.compile(r"^guest-ready\n", re.MULTILINE)
_ENDED = re.compile(r"((?:.*\n)*?)done \d+ (\d+)\n")
_NEWS = re.compile(r"(?:block|net|cpu|memory)[+=-] ")


class GuestSandbox(Sandbox):
    """A folder that guests can enter, whoever they run as, with an image in it."""

    def _fill(self) -> None:
        super()._fill()
        self.folder.chmod(0o711)
        boot_disk(self.folder).rename(self.folder / IMAGE)
        self._booted = False

    def __exit__(self, *problem: object) -> None:
        # Guests outlive the daemon, and a page that failed has not ended them.
        for path in self.folder.glob("*/qemu/run/*/qemu.pid"):
            _end_guest(int(path.read_text()), self.folder)
        super().__exit__(*problem)

    def _translate(self, command: str) -> str:
        for transport, port in PORTS.items():  # a daemon gets the port again that it had before
            if transport in self.ports:
                command = re.sub(rf"\b{transport}:{port}\b", f"{transport}:{self.ports[transport]}", command)
        return super()._translate(command)

    def visit(self, steps: Sequence[Step]) -> list[tuple[Step, int, str]]:
        """Do what somebody does in a guest's console.

        Args:
            steps: the command that opens it, and what is typed there.

        Returns:
            for each step its status, and what was printed.

        Raises:
            AssertionError: something did not happen in time.
        """
        _, uri = self.run(Step('echo "$LIBVIRT_DEFAULT_URI"', ()))
        environment = {**self.environment, "LIBVIRT_DEFAULT_URI": self._translate(uri.strip())}
        console = _Console(self._translate(steps[0].command), self.folder, environment)
        try:
            opened = console.read_until(expected_pattern(steps[0].printed), STEP_SECONDS)
            console.wait_until_raw(STEP_SECONDS)
            found = [(steps[0], 0, opened[0])]
            if not self._booted:
                console.read_until(_READY, BOOT_TIMEOUT)
                self._booted = True
            for step in steps[1:]:
                console.type(step.command.removeprefix("# "))
                ended = console.read_until(_ENDED, STEP_SECONDS)
                lines = ended[1].splitlines(keepends=True)
                text = "".join(line for line in lines if line.strip() and not _NEWS.match(line))
                found.append((step, int(ended[2]), text))
            return found
        finally:
            console.close()


class _Console:
    """A program on a terminal of its own, and what it has printed since somebody looked.

    Args:
        command: the program, for a shell.
        folder: where it runs.
        environment: its environment.
    """

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._terminal, inner = os.openpty()
        self._text = ""
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environment,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)

    def read_until(self, wanted: re.Pattern[str], seconds: float) -> re.Match[str]:
        """Wait until something is printed, carriage returns apart; it and what came before is then past."""
        deadline = time.monotonic() + seconds
        while (found := wanted.search(self._text)) is None:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            piece = b""
            if ready:
                with suppress(OSError):  # the program has ended
                    piece = os.read(self._terminal, 1 << 16)
            self._text += piece.decode(errors="replace").replace("\r", "")
            if not piece or len(self._text) > OUTPUT_MAXIMUM:
                raise AssertionError(f"the console does not show {wanted.pattern!r}, but:\n{self._text}")
        self._text = self._text[found.end() :]
        return found

    def wait_until_raw(self, seconds: float) -> None:
        """Wait until the program takes each key as it comes; what was typed before is lost."""
        deadline = time.monotonic() + seconds
        while termios.tcgetattr(self._terminal)[LOCAL_MODES] & termios.ICANON:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"the console does not open: {self._text}")
            select.select([], [], [], LOOK_SECONDS)

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._terminal, f"{line}\r".encode())

    def close(self) -> None:
        """Leave by the key for it, or else without."""
        os.write(self._terminal, ESCAPE)
        try:
            self._process.wait(STEP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._terminal)


def _end_guest(pid: int, folder: Path) -> None:
    """End a QEMU, if that is what has this number and it works below a folder."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], STEP_SECONDS)
    finally:
        os.close(process)
