"""Where a page's commands run: a folder that looks like a checkout, a shell, and terminals beside it.

The folder holds links to the project's own files, copies of the manual's examples, and a virtual environment
in appearance: its ``python``, ``twistd`` and so on are those that run the tests. ``make run`` takes it
for one.

Ports of the manual become free ones (0 on the command line), and in what is printed and in later commands the
port that a daemon was given stands for the one in the manual.

Nothing here waits by the clock: a step ends when its shell says so, a daemon is up when it has printed where
it listens, and a watcher of events has registered when the log of its libvirt says that the reply came.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, Step, expected_pattern

__all__ = ["Sandbox", "Terminal"]

STEP_SECONDS = 60.0
"""How long a step may take, on a machine that is busy with other tests; most take a fraction of a second."""

OUTPUT_MAXIMUM = 1 << 20
"""Bytes that a step may print."""

LINKS = ("Makefile", "setup.py", "pyproject.toml", "README.md", "tools", "remotevirt", "twisted")

PORTS = {"tcp": "16509", "tls": "16514"}
"""The manual's ports."""

REGISTERED = re.compile(r"RPC_CLIENT_MSG_RX: .* proc=316 type=1 status=0 ")
"""What libvirt's client logs when the reply to connect_domain_event_callback_register_any has come."""

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S* .*")
_LISTENING = re.compile(r"^Listening on (tcp|tls):127\.0\.0\.1:(\d+)", re.MULTILINE)

PASSWD = "remotevirt.auth.passwd"
"""The module that the command ``remotevirt-passwd`` runs."""

_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


class Sandbox:
    """One page's folder and shell. Used as a context manager."""

    def __init__(self) -> None:
        # Not below trial's folder: the path of a UNIX socket has room for some 100 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="manual-"))
        self.ports: dict[str, str] = {}
        self.terminals: list[Terminal] = []
        self._fill()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LIBVIRT"))},
            "PATH": f"{self.folder / '.venv/bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "RUNTIME_DIRECTORY": str(self.folder / "run/remotevirt"),
            "RUNDIR": str(self.folder / "run/remotevirt"),
            "VENV": ".venv",
            "TCP_PORT": "0",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C",
            "LANGUAGE": "C",
        }
        for name in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):  # make test may have set them
            self.environment.pop(name, None)
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _fill(self) -> None:
        for name in LINKS:
            (self.folder / name).symlink_to(ROOT / name)
        examples = self.folder / "docs/examples"
        shutil.copytree(DOCS / "examples", examples, ignore=shutil.ignore_patterns("__pycache__"))
        for path in examples.glob("*.conf"):
            text = path.read_text().replace('"/tmp"', f'"{self.folder}"')
            path.write_text(re.sub("|".join(PORTS.values()), "0", text))
        (self.folder / "run/remotevirt").mkdir(parents=True)
        bin_ = self.folder / ".venv/bin"
        bin_.mkdir(parents=True)
        for name, arguments in (
            ("python", ""),
            ("twistd", f'-c "{_TWISTD}" '),
            ("remotevirt-policy", "-m remotevirt.policy "),
            ("remotevirt-passwd", f"-m {PASSWD} "),
            ("remotevirt-fake", "-m remotevirt.testing.command "),
        ):
            path = bin_ / name
            path.write_text(
                "#!/bin/sh\n"
                f'export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{ROOT}"\n'
                f'exec "{sys.executable}" {arguments}"$@"\n'
            )
            path.chmod(0o755)
        (self.folder / ".venv/.run-ready").touch()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        for terminal in reversed(self.terminals):
            terminal.end()
        _end_group(self._shell)
        shutil.rmtree(self.folder)

    def run(self, step: Step) -> tuple[int, str]:
        """Run a step in the page's shell; return its status and what it printed, in the manual's terms."""
        script = self.folder / ".step"
        script.write_text(self._translate(step.command))
        marker = f"end-of-step-{os.urandom(8).hex()}"
        stdin, stdout = self._shell.stdin, self._shell.stdout
        assert stdin is not None and stdout is not None
        stdin.write(f". {script} </dev/null\nprintf '%s %d\\n' {marker} $?\n".encode())
        stdin.flush()
        ended = re.compile(rf"^{marker} (\d+)\n", re.MULTILINE)
        data = b""
        deadline = time.monotonic() + STEP_SECONDS
        while not (found := ended.search(text := data.decode(errors="replace"))):
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(stdout.fileno(), 1 << 16) if ready else b""
            data += piece
            if not piece or len(data) > OUTPUT_MAXIMUM:
                raise AssertionError(f"the step did not end, or printed too much: {step.command}\n{text}")
        return int(found[1]), self.tidy(text[: found.start()])

    def start(self, steps: Sequence[Step]) -> Terminal:
        """Run the steps of a block in a terminal of their own, and wait until the last one does its work."""
        terminal = Terminal(self, [self._translate(step.command) for step in steps], steps[-1].printed)
        self.terminals.append(terminal)
        terminal.wait_until_ready()
        self.ports |= dict(_LISTENING.findall(terminal.text()))
        return terminal

    def _translate(self, command: str) -> str:
        """A command of the manual, with ports that are free or in use here."""
        for transport, port in PORTS.items():
            command = re.sub(rf"\b(tcp|libvirttls):{port}\b", r"\1:0", command)
            if transport in self.ports:
                command = re.sub(rf"(\+{transport}://[\w.]+)/", rf"\g<1>:{self.ports[transport]}/", command)
        return command

    def tidy(self, text: str) -> str:
        """What was printed, in the manual's terms: its ports, no log lines, no blank lines at the end."""
        for transport, port in [*self.ports.items(), *_LISTENING.findall(text)]:
            text = text.replace(f"{transport}:127.0.0.1:{port}", f"{transport}:127.0.0.1:{PORTS[transport]}")
            text = re.sub(rf"(\+{transport}://[\w.]+):{port}/", r"\1/", text)
        lines = [line.rstrip() for line in text.splitlines() if not _LOG_LINE.match(line)]
        while lines and not lines[-1]:
            lines.pop()
        return "".join(f"{line}\n" for line in lines)


class Terminal:
    """A command that keeps running, and what it has printed.

    Args:
        sandbox: where it runs.
        commands: what is typed, the last one being the one that stays.
        printed: what it is said to print.
    """

    def __init__(self, sandbox: Sandbox, commands: Sequence[str], printed: Sequence[str]) -> None:
        self.command = commands[-1]
        self.printed = printed
        self.watches = " event " in self.command
        self._sandbox = sandbox
        self._data = {"stdout": "", "stderr": ""}
        self._news = threading.Condition()
        environment = dict(sandbox.environment)
        if self.watches:
            environment |= {"LIBVIRT_LOG_OUTPUTS": "1:stderr", "LIBVIRT_LOG_FILTERS": "1:rpc"}
        self._process = subprocess.Popen(
            # virsh writes to a pipe in large blocks unless it is told otherwise.
            ["stdbuf", "-oL", "bash", "-ec", "\n".join([*commands[:-1], f"exec {commands[-1]}"])],
            cwd=sandbox.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(name,), daemon=True) for name in self._data
        ]
        self._open = set(self._data)
        for reader in self._readers:
            reader.start()

    def _read(self, name: str) -> None:
        for line in getattr(self._process, name):
            with self._news:
                if len(self._data[name]) < OUTPUT_MAXIMUM:
                    self._data[name] += line
                self._news.notify_all()
        with self._news:
            self._open.discard(name)
            self._news.notify_all()

    def text(self) -> str:
        """What it has printed, word for word."""
        return self._data["stdout"]

    def _wait(self, done: Callable[[], object], what: str) -> None:
        with self._news:
            self._news.wait_for(lambda: done() or not self._open, STEP_SECONDS)
            if not done():
                wanted = "\n".join(self.printed)
                raise AssertionError(
                    f"{what}: {self.command}\nwanted:\n{wanted}\nprinted:\n{self.text()}\n"
                    f"and on standard error:\n{self._data['stderr'][-2000:]}"
                )

    def wait_until_ready(self) -> None:
        """Wait until a watcher has registered, or anything else has printed what it is said to."""
        if self.watches:
            self._wait(lambda: REGISTERED.search(self._data["stderr"]), "it did not register for events")
        else:
            self.wait_until_printed()

    def wait_until_printed(self) -> None:
        """Wait until it has printed what it is said to."""
        pattern = expected_pattern(self.printed)
        self._wait(lambda: pattern.match(self._sandbox.tidy(self.text())), "it did not print that")

    def end(self) -> None:
        """End it, and what it has started."""
        _end_group(self._process)
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


def _end_group(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End a process that leads a session of its own, with its children: gently, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue
    for pipe in (process.stdin, process.stdout):
        if pipe is not None and process.stdin is not None:
            pipe.close()
