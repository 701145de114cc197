"""The node device sub-driver, on a server's tree: what libvirtd 9.0.0 said of the same one."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from remotevirt.drivers.host import Host, HostDevices
from remotevirt.drivers.host.devices import KEPT_SECONDS
from remotevirt.drivers.host.ethtool import offloads
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from tests.drivers.host.base import HostTestCase, recorded

ADAPTER = ("2001001b32a9da4e", "2101001b32a9da4e")


class DocumentTests(HostTestCase):
    """Names and documents are libvirtd's."""

    async def test_names(self) -> None:
        """The same devices are listed, each after the one that it hangs on."""
        devices = HostDevices(self.server())
        names = await devices.node_list_devices(None, 999, 0)
        self.assertEqual(sorted(names), sorted(recorded()["nodedev-list"].split()))
        seen: set[str | None] = {None}
        for name in names:
            self.assertIn(await devices.node_device_get_parent(name), seen)
            seen.add(name)

    async def test_documents(self) -> None:
        """Each document is the same to the byte."""
        devices = HostDevices(self.server())
        for asked, text in recorded().items():
            if asked.startswith("nodedev-dumpxml"):
                found = await devices.node_device_get_xml_desc(asked.split()[1], 0)
                self.assertEqual(found, text, asked)

    async def test_bare(self) -> None:
        """A host without buses is still a machine."""
        devices = HostDevices(self.bare())
        self.assertEqual([*await devices.node_list_devices(None, 999, 0)], ["computer"])

    async def test_hostile(self) -> None:
        """A device whose files hold nonsense, or are not there, is left out or says less; others stay."""
        host = self.changing_server()
        root = Path(host.files.root)
        (root / "sys/devices/pci0000:00/0000:00:1f.2/vendor").write_text("not a number")
        (root / "sys/devices/pci0000:00/0000:00:02.0/uevent").unlink()
        config = bytearray(256)
        config[0x06], config[0x34], config[0x40], config[0x41] = 0x10, 0x40, 0x05, 0x40
        (root / "sys/devices/pci0000:00/0000:00:01.0/config").write_bytes(config)
        (root / "sys/bus/pci/devices/0000:00:07.0").symlink_to("nowhere")
        devices = HostDevices(host)
        names = await devices.node_list_devices("pci", 999, 0)
        self.assertNotIn("pci_0000_00_1f_2", names)
        self.assertNotIn("pci_0000_00_02_0", names)
        # Its capabilities go round in a circle: none of them is PCI Express.
        self.assertNotIn("express", await devices.node_device_get_xml_desc("pci_0000_00_01_0", 0))
        self.assertEqual(await devices.node_device_get_parent("scsi_host2"), "computer")


class ListTests(HostTestCase):
    """Lists can be filtered by what devices can be."""

    async def test_by_name(self) -> None:
        """The old calls take the name of a capability, also of one inside another."""
        devices = HostDevices(self.server())
        self.assertEqual(await devices.node_num_of_devices("scsi_host", 0), 2)
        self.assertEqual([*await devices.node_list_devices("fc_host", 9, 0)], ["scsi_host5"])
        self.assertEqual(await devices.node_num_of_devices("nonsense", 0), 0)
        self.assertEqual(len(await devices.node_list_devices("pci", 2, 0)), 2)

    async def test_by_flags(self) -> None:
        """The new call takes a bit for each; all devices are active."""
        devices = HostDevices(self.server())

        async def names(flags: int, need: int = 1) -> tuple[list[str], int]:
            found = await devices.connect_list_all_node_devices(need, flags)
            return [ref.name for ref in found.devices], found.ret

        vports = c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPORTS
        self.assertEqual(await names(vports), (["scsi_host5"], 1))
        self.assertEqual(await names(vports, 0), ([], 1))
        drm = c.VIR_CONNECT_LIST_NODE_DEVICES_CAP_DRM
        self.assertEqual((await names(drm | vports))[1], 3)
        whole = (await names(0))[1]
        self.assertEqual(whole, len(recorded()["nodedev-list"].split()))
        self.assertEqual((await names(c.VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE))[1], whole)
        # The bit stands for the sign of a 32-bit number, and some callers send it as one.
        self.assertEqual((await names(c.VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE - 2**32))[1], whole)
        self.assertEqual((await names(c.VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE))[1], 0)

    async def test_capabilities(self) -> None:
        """A device tells its capabilities, with those inside them."""
        devices = HostDevices(self.server())
        self.assertEqual(await devices.node_device_num_of_caps("scsi_host5"), 3)
        caps = await devices.node_device_list_caps("scsi_host5", 9)
        self.assertEqual([*caps], ["scsi_host", "fc_host", "vports"])

    async def test_by_world_wide_name(self) -> None:
        """An adapter is found by its names, both of them."""
        devices = HostDevices(self.server())
        found = await devices.node_device_lookup_scsi_host_by_wwn(*ADAPTER, 0)
        self.assertEqual(found.name, "scsi_host5")
        missing = devices.node_device_lookup_scsi_host_by_wwn(ADAPTER[1], ADAPTER[0], 0)
        error = await self.assertFailure(missing, VirError)
        self.assertEqual(error.code, c.VIR_ERR_NO_NODE_DEVICE)

    async def test_kept(self) -> None:
        """What was read is good for a moment; then a device that has gone is gone."""
        host, now = self.changing_server(), [100.0]
        devices = HostDevices(host, lambda: now[0])
        self.assertEqual(await devices.node_num_of_devices("drm", 0), 2)
        Path(host.files.path("/sys/class/drm/card0")).unlink()
        now[0] += KEPT_SECONDS / 2
        self.assertEqual(await devices.node_num_of_devices("drm", 0), 2)
        now[0] += KEPT_SECONDS
        self.assertEqual(await devices.node_num_of_devices("drm", 0), 1)


class RefusalTests(HostTestCase):
    """Nothing can be changed; words, codes and domains are libvirtd's."""

    async def _fails(self, failing: Deferred[object], code: int, message: str) -> None:
        error = await self.assertFailure(failing, VirError)
        found = (error.code, error.domain, error.message)
        self.assertEqual(found, (code, c.VIR_FROM_NODEDEV, message))

    async def test_changes(self) -> None:
        """Each way to change a device is refused in its own words."""
        devices, disk = HostDevices(self.server()), "block_sda_WDC_WD10_WCC123"
        unsupported = "unsupported configuration: Unsupported device type"
        active = "Requested operation is not valid: Device is already active"
        undefined = f"Requested operation is not valid: Node device '{disk}' is not defined"
        net = "<device><capability type='net'><interface>x</interface></capability></device>"
        adapter = (
            "<device><capability type='scsi_host'><capability type='fc_host'>"
            f"<wwnn>{ADAPTER[0]}</wwnn><wwpn>{ADAPTER[1]}</wwpn></capability></capability></device>"
        )
        await self._fails(devices.node_device_destroy(disk), 67, unsupported)
        await self._fails(devices.node_device_undefine(disk, 0), 55, undefined)
        await self._fails(devices.node_device_undefine("computer", 0), 67, unsupported)
        await self._fails(devices.node_device_create(disk, 0), 55, active)
        await self._fails(devices.node_device_create_xml(net, 0), 67, unsupported)
        await self._fails(devices.node_device_define_xml(net, 0), 67, unsupported)
        await self._fails(
            devices.node_device_create_xml(adapter, 0),
            1,
            "internal error: Could not find any vport capable device",
        )
        await self._fails(
            devices.node_device_create_xml("<device/>", 0),
            1,
            "internal error: no device capabilities for 'new device'",
        )
        await self._fails(
            devices.node_device_set_autostart(disk, 1),
            84,
            "Operation not supported: Unsupported device type",
        )

    async def test_states(self) -> None:
        """Devices are there, and only the machine lasts."""
        devices = HostDevices(self.server())
        for name, lasts in (("computer", 1), ("drm_card0", 0)):
            self.assertEqual(await devices.node_device_is_active(name), 1)
            self.assertEqual(await devices.node_device_is_persistent(name), lasts)
            self.assertEqual(await devices.node_device_get_autostart(name), lasts)

    async def test_unknown(self) -> None:
        """A name that no device has is told as such, whatever is asked."""
        devices = HostDevices(self.server())
        for failing in (
            devices.node_device_lookup_by_name("../x"),
            devices.node_device_get_xml_desc("../x", 0),
            devices.node_device_destroy("../x"),
        ):
            message = "Node device not found: no node device with matching name '../x'"
            await self._fails(failing, 53, message)


class OffloadTests(HostTestCase):
    """The kernel is asked what an interface does for its packets."""

    def test_loopback(self) -> None:
        """The loopback of every Linux host gathers segments."""
        self.assertIn("sg", offloads("lo"))

    def test_none(self) -> None:
        """Of an interface that is not there, or whose name cannot be one, nothing is known."""
        for name in ("", "nosuchif0", "x" * 16, "x" * 4096):
            self.assertEqual(offloads(name), [])

    def test_recorded(self) -> None:
        """The names of a tree's interfaces are not asked of the running kernel."""
        self.assertTrue(Host("/").files.is_live)
        self.assertFalse(self.server().files.is_live)
