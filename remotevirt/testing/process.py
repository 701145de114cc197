"""A fake libvirt as a child process: for tests in which no reactor runs, and for those of other languages.

What starts it is the command ``remotevirt-fake``; see :mod:`remotevirt.testing.command`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from remotevirt.testing.remote import RemoteFake
from remotevirt.testing.values import WorldError

__all__ = ["FakeProcess"]

STOP_SECONDS: Final = 10.0
"""How long it may take to end before it is killed."""


class FakeProcess(RemoteFake):
    """A running ``remotevirt-fake``; it ends with :meth:`stop`, its ``with`` block, or this process.

    Args:
        world: the file that describes what worlds hold; None: what libvirt's ``test:///default`` holds.
        clock: ``"auto"``, or ``"manual"`` for time that stands still until it is advanced.
        faults: rules for every world, as the command line takes them.
        options: more options of the command.

    Attributes:
        pid: its process id.

    Raises:
        WorldError: it did not start; the text says why.
    """

    def __init__(
        self,
        world: str | Path | None = None,
        *,
        clock: str = "auto",
        faults: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        command = [sys.executable, "-m", "remotevirt.testing.command", "--clock", clock, *options]
        if world is not None:
            command += ["--world", str(world)]
        for fault in faults:
            command += ["--fault", fault]
        path = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise WorldError("remotevirt-fake did not start; its standard error says why")
        found = json.loads(line)
        self.pid: int = found["pid"]
        super().__init__(found["control"], found["uri"])

    def stop(self) -> int:
        """End it; return its exit status. May be called again."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        process.stdout.close()
        return status

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
