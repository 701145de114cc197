"""What virsh says of a storage driver: recorded once from a real libvirtd, compared with ours in every test.

::

    python -m tests.interop.storage_session URI

A libvirtd with a storage driver touches its host's pools, so none is started in tests. To record anew, start
one on folders of its own (in a mount namespace, or as a user without rights) and name its URI.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.interop.peers import run

__all__ = ["RECORD", "transcript"]

RECORD = Path(__file__).resolve().parents[1] / "data" / "storage-virsh.txt"

COMMANDS = """
pool-define-as p dir --target $DIR/p
pool-start p
pool-info p
pool-build p
pool-build p --overwrite
pool-start p
pool-start p
pool-build p
pool-dumpxml p
pool-list --all
pool-list --persistent --autostart
pool-name p
pool-info p
vol-create-as p full.raw 1M
vol-create-as p full.raw 1M
vol-create-as p none.raw 1M --allocation 0
vol-create-as p part.raw 1M --allocation 64K
vol-create-as p bad/name 1M
vol-create-as p .. 1M
vol-create-as p base.qcow2 8M --format qcow2
vol-create-as p top.qcow2 8M --format qcow2 --backing-vol base.qcow2 --backing-vol-format qcow2
vol-create-as p top2.qcow2 0 --format qcow2 --backing-vol base.qcow2 --backing-vol-format qcow2
vol-create-as p x.raw 8M --format raw --backing-vol base.qcow2 --backing-vol-format qcow2
vol-create-as p x.raw 8M --format raw --prealloc-metadata
vol-create-as p x.luks 8M --format luks
vol-create-as p x.ploop 8M --format ploop
vol-create-as p i.vmdk 8M --format vmdk
vol-create-as p i.vdi 8M --format vdi
vol-create-as p i.qed 8M --format qed
vol-create-as p i.qcow 8M --format qcow
vol-create-as p folder 8M --format dir
vol-create-as p meta.qcow2 8M --format qcow2 --prealloc-metadata
vol-create p $DIR/options.xml
vol-list p
vol-dumpxml full.raw --pool p
vol-dumpxml none.raw --pool p
vol-dumpxml part.raw --pool p
vol-dumpxml base.qcow2 --pool p
vol-dumpxml top.qcow2 --pool p
vol-dumpxml top2.qcow2 --pool p
vol-dumpxml options.qcow2 --pool p
vol-dumpxml i.vmdk --pool p
vol-dumpxml i.vdi --pool p
vol-dumpxml i.qed --pool p
vol-dumpxml i.qcow --pool p
vol-dumpxml folder --pool p
vol-info full.raw --pool p
vol-info none.raw --pool p --bytes
vol-info none.raw --pool p --physical --bytes
vol-info folder --pool p
vol-path full.raw --pool p
vol-key full.raw --pool p
vol-key $DIR/p//none.raw
vol-name $DIR/p/full.raw
vol-pool $DIR/p/full.raw
vol-path nothing --pool p
vol-path $DIR/p/nothing
vol-resize full.raw 2M --pool p
vol-resize full.raw 1M --pool p
vol-resize full.raw 1M --pool p --shrink
vol-resize full.raw 1M --pool p --delta
vol-resize full.raw 3M --pool p --allocate
vol-resize full.raw 1000T --pool p --allocate
vol-resize base.qcow2 16M --pool p
vol-resize base.qcow2 1M --pool p --shrink
vol-resize base.qcow2 20M --pool p --allocate
vol-info full.raw --pool p --bytes
vol-wipe full.raw --pool p
vol-wipe full.raw --pool p --algorithm trim
vol-wipe folder --pool p
vol-clone full.raw copy.raw --pool p
vol-clone full.raw copy.raw --pool p
vol-clone top.qcow2 copy.qcow2 --pool p
vol-info copy.raw --pool p --bytes
vol-upload none.raw $DIR/options.xml --pool p
vol-download none.raw $DIR/back --pool p --length 8
vol-upload none.raw $DIR/options.xml --pool p --offset 4096 --sparse
vol-download none.raw $DIR/back --pool p --sparse
vol-upload none.raw $DIR/options.xml --pool p --length 8
pool-refresh p
vol-dumpxml base.qcow2 --pool p
vol-dumpxml top.qcow2 --pool p
vol-dumpxml options.qcow2 --pool p
vol-delete folder --pool p
vol-delete copy.raw --pool p
vol-delete copy.raw --pool p
vol-list p
pool-autostart p
pool-list --autostart
pool-delete p
pool-undefine p
pool-destroy p
pool-destroy p
pool-refresh p
vol-list p
vol-info full.raw p
pool-delete p
pool-autostart p --disable
pool-undefine p
pool-info p
pool-create-as t dir --target $DIR/t
pool-create-as t dir --target $DIR/t --build
pool-create-as u dir --target $DIR/t --build
pool-autostart t
pool-define-as r rbd --source-host h --source-name n
find-storage-pool-sources dir
find-storage-pool-sources rbd
pool-destroy t
pool-list --all
"""
"""One virsh each, on a fresh connection; the words are split at spaces."""

OPTIONS = """\
<volume><name>options.qcow2</name><capacity>1048576</capacity><allocation>0</allocation><target>
<format type='qcow2'/><permissions><mode>0640</mode></permissions><compat>1.1</compat>
<clusterSize unit='KiB'>128</clusterSize><features><lazy_refcounts/></features></target></volume>
"""

WIPES: tuple[tuple[str, str], ...] = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"<([amc]time)>[0-9.]+<", r"<\1>TIME<"),
    (r"<(owner|group)>\d+<", r"<\1>ID<"),
    (r"(Capacity|Allocation|Available): +[0-9.]+ GiB", r"\1: SPACE"),
    (r"(<(?:capacity|allocation|available) unit='bytes'>)\d{10,}<", r"\1SPACE<"),
)
"""What differs from one run to the next."""


def transcript(uri: str) -> str:
    """Return all commands, and what virsh said to them."""
    folder = Path(tempfile.mkdtemp(prefix="storage-"))
    try:
        (folder / "options.xml").write_text(OPTIONS)
        return "".join(_lines(uri, folder))
    finally:
        shutil.rmtree(folder)


def _lines(uri: str, folder: Path) -> Iterator[str]:
    for line in COMMANDS.strip().splitlines():
        done = run(["virsh", "-c", uri, *line.replace("$DIR", str(folder)).split()])
        said = f"{done.out}{done.err}".replace(str(folder), "$DIR")
        for pattern, replacement in WIPES:
            said = re.sub(pattern, replacement, said)
        kept = "\n".join(_plain(text) for text in said.splitlines() if text.strip())
        yield f"$ {line}\n{kept}\n"


def _plain(line: str) -> str:
    """Return a line without the room that a file system happens to take, and the width of tables."""
    found = re.fullmatch(r"( *<(?:allocation|physical) unit='bytes'>)(\d+)(<.*)", line)
    if found is not None and int(found[2]) % 65536:
        return f"{found[1]}ROOM{found[3]}"
    if re.fullmatch(r"-+", line):
        return "---"
    return re.sub(r" {2,}(?=\S)(?!<)", "  ", line).rstrip() if not line.lstrip().startswith("<") else line


if __name__ == "__main__":
    RECORD.write_text(transcript(sys.argv[1]))
