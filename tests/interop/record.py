"""Record the golden corpus: run real libvirt clients against a real libvirtd, and write down what they say.

::

    python -m tests.interop.record [session ...]

What a client is told to do stands in ``tests/data/sessions``: a file of lines for virsh or virt-admin, or of
statements over libvirt's Python binding, where ``c`` is the connection and ``prelude.py.txt`` has made other
names. ``$DIR`` is a copy of the folder ``documents`` beside them. A line may fail: what the daemon answers
then is worth recording too.

A recorder stands between the two on a UNIX socket, copies bytes both ways as they come, and splits a copy of
them into messages. The files of ``tests/data/golden`` are written anew and change with each recording
(serials, times, UUIDs), so record only to add something. Needs virsh, libvirtd, virt-admin and libvirt's
Python binding.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.interop import golden
from tests.interop.daemons import Libvirtd
from tests.interop.peers import PYTHON, run

SOURCES = Path(__file__).resolve().parents[1] / "data" / "sessions"

SESSIONS: dict[str, Sequence[str]] = {
    "virsh-host": ("virsh",),
    "virsh-domain": ("virsh",),
    "virsh-snapshot": ("virsh",),
    "virsh-checkpoint": ("virsh",),
    "virsh-network": ("virsh",),
    "virsh-storage": ("virsh",),
    "virsh-readonly": ("virsh", "-r"),
    "virt-admin": ("virt-admin",),
    "python-calls": ("python",),
    "python-events": ("python",),
}
"""Each session's program and the options it is given."""

RUN_STATEMENTS = "\nfor line in sys.stdin:\n    attempt(line.strip())\n"
"""Behind the prelude: try what comes on standard input."""

DESCRIPTORS = 32
"""At most so many descriptors travel with a message."""

KEPT = 2
"""How many messages of one kind (sender, program, procedure, type, status) a session keeps."""

LARGEST = 12_000
"""Bytes; a larger message teaches nothing that a smaller one of its kind would not."""


class Recorder:
    """A proxy on a UNIX socket that hands every whole message to ``keep(sender, data)``."""

    def __init__(self, listen: Path, target: Path, keep: Callable[[str, bytes], None]) -> None:
        self.target = str(target)
        self.keep = keep
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(listen))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(self.target)
            for sender, source, sink in (("client", client, daemon), ("daemon", daemon, client)):
                threading.Thread(target=self._copy, args=(sender, source, sink), daemon=True).start()

    def _copy(self, sender: str, source: socket.socket, sink: socket.socket) -> None:
        held = b""
        try:
            while True:
                data, descriptors, _, _ = socket.recv_fds(source, 65536, DESCRIPTORS)
                if not data:
                    break
                if descriptors:
                    # They belong to the last byte; libvirt would lose them with an earlier one.
                    sink.sendall(data[:-1])
                    socket.send_fds(sink, [data[-1:]], descriptors)
                else:
                    sink.sendall(data)
                for descriptor in descriptors:
                    os.close(descriptor)
                held += data
                while len(held) >= 4 and len(held) >= (size := int.from_bytes(held[:4], "big")):
                    # What follows the message may come in a later read.
                    end = size + golden.dummy_bytes(held[:size])
                    if len(held) < end:
                        break
                    self.keep(sender, held[:size])
                    held = held[end:]
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        """Take no more clients."""
        self._server.close()


class Corpus:
    """The messages of one session, few of each kind."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self._seen: set[tuple[object, bytes]] = set()
        self._counts: Counter[tuple[object, ...]] = Counter()
        self._lock = threading.Lock()

    def keep(self, sender: str, data: bytes) -> None:
        """Take a message, unless there are enough of its kind."""
        frame = golden.parse(data)
        kind: tuple[object, ...] = (sender, *frame[:4], frame.status)
        with self._lock:
            self._counts[kind] += 1
            if self._counts[kind] > KEPT or len(data) > LARGEST or (kind, frame.payload) in self._seen:
                return
            self._seen.add((kind, frame.payload))
            self.messages.append({"from": sender, "note": golden.note(frame), "hex": data.hex()})

    def write(self, path: Path, peer: str) -> None:
        """Write the file of the session."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"peer": peer, "messages": self.messages}, indent=1) + "\n")


def record(name: str, documents: Path) -> Corpus:
    """Run one session against a private libvirtd and return what was said."""
    program, *options = SESSIONS[name]
    lines = (SOURCES / f"{name}.txt").read_text().replace("$DIR", str(documents))
    corpus = Corpus()
    with Libvirtd() as daemon:
        target = daemon.directory / ("libvirt-admin-sock" if program == "virt-admin" else "libvirt-sock")
        through = daemon.directory / "recorder"
        recorder = Recorder(through, target, corpus.keep)
        command: Sequence[str]
        if program == "virt-admin":
            command = ["virt-admin", "-c", f"libvirtd+unix:///system?socket={through}"]
        elif program == "virsh":
            command = ["virsh", *options, "-c", f"test+unix:///default?socket={through}"]
        else:
            script = (SOURCES / "prelude.py.txt").read_text() + RUN_STATEMENTS
            command = [PYTHON, "-c", script, f"test+unix:///default?socket={through}"]
        result = run(command, stdin=lines, timeout=120)
        recorder.close()
    sys.stderr.write(result.err)
    return corpus


def main(names: list[str]) -> int:
    """Record the sessions named, or all."""
    with tempfile.TemporaryDirectory(prefix="documents-") as folder:
        documents = Path(folder) / "documents"
        shutil.copytree(SOURCES / "documents", documents)
        for name in names or SESSIONS:
            corpus = record(name, documents)
            corpus.write(golden.FOLDER / f"{name}.json", f"libvirt 9.0.0, {SESSIONS[name][0]}")
            print(f"{name}: {len(corpus.messages)} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
