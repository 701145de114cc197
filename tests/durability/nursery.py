"""Daemons that start fast: forked from a process that has imported everything and done nothing.

Most of a daemon's start is importing, which has nothing to do with what it finds on the disk; forking leaves
that out, so that hundreds of starts take minutes. Each daemon is a process of its own: it is killed by its
number and opens its files by itself.

::

    Nursery ──► python -m tests.durability.nursery        one for all rounds
                  ◄── a line: arguments, log file
                  ──► fork: twistd ...                     a daemon
                  ──► a line: its process id, and a line with its status when it has ended
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tests.interop.daemons import Remotevirt, project_root

__all__ = ["ForkedRemotevirt", "Nursery"]


class Child:
    """A forked daemon, with the part of subprocess.Popen that is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self.returncode

    def kill(self) -> None:
        """Kill it."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        # its number is not given to another process before the nursery has said that it has ended
        if self.returncode is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: it has not ended by then.
        """
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("twistd", timeout or 0)
        assert self.returncode is not None
        return self.returncode


class Nursery:
    """The process that forks daemons."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=project_root,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"},
        )
        self._children: dict[int, Child] = {}
        self._born: list[Child] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, pid, *rest = line.split()
            with self._news:
                if word == b"born":
                    child = self._children[int(pid)] = Child(int(pid))
                    self._born.append(child)
                    self._news.notify()
                else:
                    child = self._children.pop(int(pid))
                    child.returncode = int(rest[0])
                    child.ended.set()

    def fork(self, arguments: Sequence[str], log: str, environment: Mapping[str, str]) -> Child:
        """Start a daemon."""
        assert self._process.stdin is not None
        order = {"arguments": list(arguments), "log": log, "environment": dict(environment)}
        with self._news:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            if not self._news.wait_for(lambda: self._born, 60):
                raise AssertionError("the nursery does not answer")
            return self._born.pop()

    def close(self) -> None:
        """End the process; its daemons have ended before."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()


class ForkedRemotevirt(Remotevirt):
    """The daemon, forked."""

    def __init__(self, nursery: Nursery, **settings: Any) -> None:
        super().__init__(**settings)
        self.nursery = nursery

    def _spawn(self, command: Sequence[str], environment: Mapping[str, str]) -> Any:
        _python, _c, _program, *arguments = command
        return self.nursery.fork(arguments, str(self._log), environment)


def serve() -> None:
    """Fork a daemon for each line on standard input, until that ends."""
    from twisted.scripts import twistd

    import remotevirt.drivers.test.driver
    import remotevirt.tap  # noqa: F401 - what takes the time

    if "twisted.internet.reactor" in sys.modules:
        raise SystemExit("a reactor cannot be shared with children")
    writing = threading.Lock()

    def say(text: str) -> None:
        with writing:
            os.write(1, text.encode() + b"\n")

    def bury(pid: int) -> None:
        say(f"ended {pid} {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")

    for line in sys.stdin.buffer:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(descriptor, place)
            os.environ.update(order["environment"])
            sys.argv = ["twistd", *order["arguments"]]
            twistd.run()
            os._exit(0)
        say(f"born {pid}")
        threading.Thread(target=bury, args=(pid,), daemon=True).start()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join()


if __name__ == "__main__":
    serve()
