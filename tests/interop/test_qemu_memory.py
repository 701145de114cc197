"""Where the memory of real guests lies: huge pages, shared memory, memory that stays."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.interop.apart import RemotevirtApart
from tests.interop.qemu_session import GuestTestCase, until
from tests.interop.spaces import Space, require_space

HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")

SPACE = ("--mount",)

MOUNT = """\
import subprocess
subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M,mode=755", "none", {!r}], check=True)
"""


CELLS = """
<cpu><numa>
 <cell id='0' cpus='0' memory='16' unit='MiB'/><cell id='1' memory='16' unit='MiB'/>
</numa></cpu>
<numatune><memnode cellid='1' mode='strict' nodeset='0'/></numatune>"""


class Apart(RemotevirtApart):
    """remotevirt with huge pages that are mounted for it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.mount = self.directory / "huge pages"
        self.mount.mkdir()
        self.space = Space(SPACE, MOUNT.format(str(self.mount)))


class MemoryTests(GuestTestCase):
    """Guests that boot nothing, of 32 MiB."""

    def backed(self, inside: str, name: str = "empty") -> str:
        """The document of a guest whose memory is backed as told, in a file."""
        return str(self.empty(name, settings=f"<memoryBacking>{inside}</memoryBacking>"))

    def maps(self) -> str:
        """What the guest's memory consists of; the field behind each mapping is the size of its pages."""
        text = Path(f"/proc/{self.qemu()}/smaps").read_text()
        return "\n".join(re.findall(r"^[0-9a-f]+-[0-9a-f]+ .*|^KernelPageSize:.*", text, re.MULTILINE))

    async def test_kinds(self) -> None:
        """Shared memory is shared; what the host cannot give is refused, and says why."""
        await self.begin()
        await self.virsh("create", self.backed("<source type='memfd'/><access mode='shared'/>"))
        self.assertRegex(self.maps(), r"rw-s .*/memfd:")
        await self.virsh("destroy", "empty")
        output = await self.tried("create", self.backed("<locked/>"))
        if output.status == 0:
            status = Path(f"/proc/{self.qemu()}/status").read_text()
            locked = re.search(r"^VmLck:\s+(\d+) kB", status, re.MULTILINE)
            assert locked is not None
            self.assertGreaterEqual(int(locked[1]), 32 << 10)
            await self.virsh("destroy", "empty")
        else:
            self.assertIn("qemu unexpectedly closed the monitor: ", output.err)
            self.assertIn("mlockall: Cannot allocate memory", output.err)
        for inside, text in (
            ("<memory mode='strict' nodeset='0,999'/>", "NUMA node 999 is unavailable"),
            ("<memory mode='strict' placement='auto'/>", "Failed to query numad for the advisory nodeset"),
        ):
            path = self.empty(settings=f"<numatune>{inside}</numatune>")
            self.assertIn(text, await self.refused("create", str(path)))
        await self.virsh("create", str(self.empty(settings=CELLS)))
        self.assertIn("bind:0", Path(f"/proc/{self.qemu()}/numa_maps").read_text())
        await self.virsh("destroy", "empty")
        await self.nothing_left()

    async def test_huge_pages(self) -> None:
        """Memory in huge pages, which are given back; a size that is not there is refused."""
        require_space(SPACE, MOUNT.format("/mnt"))
        before = int(HUGE_PAGES.read_text())
        self.addCleanup(HUGE_PAGES.write_text, str(before))
        HUGE_PAGES.write_text(str(before + 16))
        if int(HUGE_PAGES.read_text()) < before + 16:
            raise SkipTest("the host has no 16 huge pages")
        daemon = self.daemon = Apart()
        self.addCleanup(daemon.stop)
        await self.begin()
        await self.virsh("create", self.backed("<hugepages/>"))
        folder = daemon.mount / "remotevirt"
        self.assertRegex(self.maps(), rf"{re.escape(str(folder))}.*\nKernelPageSize: +2048 kB")
        await self.again()
        await self.virsh("destroy", "empty")
        await until(lambda: not daemon.inside("ls", str(folder)).out, f"nothing in {folder}")
        huge = "<hugepages><page size='1' unit='G'/></hugepages>"
        text = "Unable to find any usable hugetlbfs mount for 1048576 KiB"
        self.assertIn(text, await self.refused("create", self.backed(huge)))
        await self.nothing_left()
