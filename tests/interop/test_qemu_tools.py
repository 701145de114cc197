"""virt-install, virt-clone and virt-xml with real guests, as they are used on their own."""

from __future__ import annotations

from urllib.parse import quote

from twisted.internet.threads import deferToThread

from tests.interop.peers import Output, require, run
from tests.interop.qemu_session import GuestTestCase

SECONDS = 60.0

COMMON = (
    *("--memory", "32", "--osinfo", "detect=off,require=off", "--virt-type", "qemu", "--machine", "q35"),
    *("--network", "none", "--graphics", "none", "--noautoconsole"),
)


class ToolTests(GuestTestCase):
    """Tools that are written on top of libvirt's Python binding."""

    def setUp(self) -> None:
        super().setUp()
        require("virt-install", "qemu-img")

    async def tool(self, name: str, *words: str) -> Output:
        """What a tool does."""
        uri = f"qemu+unix:///system?socket={quote(str(self.daemon.unix))}"
        return await deferToThread(run, [name, "--connect", uri, *words], timeout=SECONDS)

    async def works(self, name: str, *words: str) -> str:
        """What a tool says; it must succeed."""
        output = await self.tool(name, *words)
        self.assertEqual(0, output.status, f"{words}: {output}")
        return output.out

    async def test_tools(self) -> None:
        """A guest is installed on a new volume, changed while it runs and while it does not, and cloned."""
        await self.begin()
        folder = self.daemon.directory / "disks"
        await self.virsh("pool-create-as", "disks", "dir", "--target", str(folder), "--build")
        folder.chmod(0o711)
        disk = ("--disk", "size=0.01,pool=disks,bus=virtio")
        port = ("--controller", "type=pci,index=9,model=pcie-root-port")
        cloud = ("--cloud-init", "root-password-generate=no,disable=on")
        await self.works("virt-install", "--name", "one", *COMMON, "--import", *disk, *port, *cloud)
        self.assertEqual("running (booted)", await self.state("one"))
        self.assertIn("one.qcow2", await self.virsh("vol-list", "disks"))
        self.assertIn(str(folder / "one.qcow2"), await self.virsh("domblklist", "one"))

        output = await self.tool("virt-install", "--name", "one", *COMMON, "--import", "--disk", "none")
        self.assertIn("Guest name 'one' is already in use", output.err)
        taken = ("--disk", "vol=disks/one.qcow2")
        output = await self.tool("virt-install", "--name", "two", *COMMON, "--import", *taken)
        self.assertIn("is already in use by other guests ['one']", output.err)

        mac = "52:54:00:00:00:07"
        card = ("--network", f"user,mac={mac},model=virtio")
        said = await self.works("virt-xml", "one", "--add-device", *card, "--update")
        self.assertIn("Device hotplug successful.", said)
        self.assertIn(mac, await self.virsh("domiflist", "one"))
        down = ("--network", "link.state=down", "--update")
        await self.works("virt-xml", "one", "--edit", f"mac={mac}", *down)
        self.assertIn("down", await self.virsh("domif-getlink", "one", mac))
        await self.works("virt-xml", "one", "--edit", "--metadata", "title=changed")
        for words in ((), ("--inactive",)):
            self.assertIn(mac, await self.virsh("dumpxml", "one", *words))
        self.assertIn("<title>changed</title>", await self.virsh("dumpxml", "one", "--inactive"))

        output = await self.tool("virt-clone", "--original", "one", "--auto-clone")
        self.assertIn("Domain to clone must be shutoff", output.err)
        await self.virsh("destroy", "one")
        await self.works("virt-clone", "--original", "one", "--auto-clone")
        clone = await self.virsh("dumpxml", "one-clone")
        self.assertIn(str(folder / "one-clone.qcow2"), clone)
        self.assertNotIn(mac, clone)
        await self.works("virt-xml", "one-clone", "--remove-device", "--network", "1")
        await self.virsh("start", "one-clone")
        self.assertEqual("", await self.cards())
        await self.virsh("destroy", "one-clone")
        await self.nothing_left()

    async def cards(self) -> str:
        """The network cards of the clone, below the head of the table."""
        return (await self.virsh("domiflist", "one-clone")).partition("---")[2].strip("-\n ")
