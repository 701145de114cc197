"""Record what libvirtd says of the tree of a server: ``python -m tests.drivers.host.record``, as root.

The CPU's model is not recorded (libvirtd asks the real CPU for it), nor are VLANs (it looks into the real
/proc/net for them).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.drivers.host.oracle import HostLibvirtd
from tests.drivers.host.trees import SERVER, write_server
from tests.interop.peers import run_virsh


def main() -> None:
    """Ask libvirtd, and write its answers, each after a line that says what it is."""
    with tempfile.TemporaryDirectory() as folder:
        write_server(Path(folder))
        daemon = HostLibvirtd(Path(folder))
        with daemon:

            def ask(*words: str) -> str:
                return run_virsh(daemon.qemu_uri, *words).out.strip("\n") + "\n"

            host = ask("capabilities").partition("    <power_management")
            answers = {("host",): host[1] + host[2].partition("    <secmodel>")[0]}
            asked = [("nodeinfo",), ("freecell", "--all"), ("freepages", "--all")]
            asked += [("nodedev-list",), ("iface-list", "--all")]
            asked += [("nodedev-dumpxml", name) for name in ask("nodedev-list").split()]
            names = [line.split()[0] for line in ask("iface-list", "--all").splitlines()[2:]]
            asked += [("iface-dumpxml", name) for name in names if "." not in name]
            answers.update((words, ask(*words)) for words in asked)
    SERVER.write_text("".join(f"<!-- {' '.join(words)} -->\n{text}" for words, text in answers.items()))


if __name__ == "__main__":
    main()
