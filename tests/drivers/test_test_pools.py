"""Storage pools and volumes of the test hypervisor."""

from __future__ import annotations

from uuid import UUID

from remotevirt.drivers.test.node import Node
from remotevirt.drivers.test.node_xml import load_world
from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullStoragePool, NonnullStorageVol
from tests.drivers.objects import ObjectsCase

POOL = NonnullStoragePool("default-pool", UUID("dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566").bytes)
SIZE = 100 * 1024**3
DEFAULT_XML = """\
<pool type='dir'>
  <name>default-pool</name>
  <uuid>dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566</uuid>
  <capacity unit='bytes'>107374182400</capacity>
  <allocation unit='bytes'>0</allocation>
  <available unit='bytes'>107374182400</available>
  <source>
  </source>
  <target>
    <path>/default-pool</path>
  </target>
</pool>
"""
INVALID = "Requested operation is not valid: "


def pool(name: str, number: int, kind: str = "dir", source: str = "", path: str = "") -> str:
    """Return a pool's document."""
    uuid = UUID(bytes=bytes(15) + bytes([number]))
    return (
        f"<pool type='{kind}'><name>{name}</name><uuid>{uuid}</uuid><source>{source}</source>"
        f"<target><path>{path or f'/pools/{name}'}</path></target></pool>"
    )


def volume(name: str, capacity: int = 100) -> str:
    """Return a volume's document."""
    return f"<volume><name>{name}</name><capacity>{capacity}</capacity></volume>"


VIRTUAL = "<adapter type='fc_host' parent='scsi_host{}' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/>"


class StorageCase(ObjectsCase):
    """The storage calls of a connection."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = self.connection.storage

    def define(self, text: str) -> NonnullStoragePool:
        """Define a pool."""
        ref: NonnullStoragePool = self.calls.storage_pool_define_xml(text, 0)
        return ref

    def create(self, text: str) -> NonnullStoragePool:
        """Create a transient pool."""
        ref: NonnullStoragePool = self.calls.storage_pool_create_xml(text, 0)
        return ref

    def make(self, ref: NonnullStoragePool, name: str, capacity: int = 100) -> NonnullStorageVol:
        """Make a volume."""
        vol: NonnullStorageVol = self.calls.storage_vol_create_xml(ref, volume(name, capacity), 0)
        return vol

    def listed(self, flags: int) -> list[str]:
        """Return the names of the pools that pass a filter."""
        return [ref.name for ref in self.calls.connect_list_all_storage_pools(1, flags).pools]


class DefaultPoolTests(StorageCase):
    """The pool "default-pool", and lists."""

    def test_looking(self) -> None:
        """Lookups, properties and XML."""
        calls = self.calls
        self.assertEqual(calls.storage_pool_lookup_by_name("default-pool"), POOL)
        self.assertEqual(calls.storage_pool_lookup_by_uuid(POOL.uuid), POOL)
        self.assertEqual(calls.storage_pool_get_info(POOL), (2, SIZE, 0, SIZE))
        self.assertEqual(calls.storage_pool_get_xml_desc(POOL, 0), DEFAULT_XML)
        self.assertEqual((calls.storage_pool_is_active(POOL), calls.storage_pool_is_persistent(POOL)), (1, 1))
        self.assertEqual(calls.storage_pool_num_of_volumes(POOL), 0)
        self.assertEqual(calls.storage_pool_list_volumes(POOL, 9), [])
        self.assertEqual(calls.storage_pool_list_all_volumes(POOL, 1, 0), ((), 0))

    def test_lists(self) -> None:
        """Filters, counts and names, before and after something changes."""
        calls = self.calls
        self.define(pool("off", 1, "mpath"))
        self.create(pool("soon-gone", 2))
        self.assertEqual(calls.connect_num_of_storage_pools(), 2)
        self.assertEqual(calls.connect_num_of_defined_storage_pools(), 1)
        self.assertEqual(calls.connect_list_storage_pools(1), ["default-pool"])
        self.assertEqual(calls.connect_list_defined_storage_pools(5), ["off"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE), ["off"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT), ["soon-gone"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_STORAGE_POOLS_MPATH), ["off"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_STORAGE_POOLS_DIR), ["default-pool", "soon-gone"])
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART), [])
        calls.storage_pool_set_autostart(POOL, 1)
        self.assertEqual(calls.storage_pool_get_autostart(POOL), 1)
        self.assertEqual(self.listed(c.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART), ["default-pool"])

    def test_missing(self) -> None:
        """Name or UUID: whichever a call goes by is in the error."""
        gone = NonnullStoragePool("gone", b"z" * 16)
        text = "Storage pool not found: no storage pool with matching name 'gone'"
        self.assert_refused(self.calls.storage_pool_get_info, gone, code=49, message=text)
        uuid = "7a7a7a7a-7a7a-7a7a-7a7a-7a7a7a7a7a7a"
        text = f"Storage pool not found: no storage pool with matching uuid '{uuid}'"
        self.assert_refused(self.calls.storage_pool_is_persistent, gone, code=49, message=text)
        self.assert_refused(self.calls.storage_pool_list_all_volumes, gone, 1, 0, code=49, message=text)

    def test_sources(self) -> None:
        """Two types of pools have sources to find."""
        find = self.calls.connect_find_storage_pool_sources
        self.assertIn("<name>testvg2</name>", find("logical", None, 0))
        self.assertIn("<host name='h'/>", find("netfs", "<source><host name='h'/></source>", 0))
        text = "invalid argument: hostname must be specified for netfs sources"
        self.assert_refused(find, "netfs", None, 0, code=8, message=text)
        self.assert_refused(find, "netfs", "<source/>", 0, code=8, message=text)
        start = "this function is not supported by the connection driver: pool type"
        text = f"{start} 'iscsi' does not support source discovery"
        self.assertEqual(self.refusal(find, "iscsi", None, 0), (3, 12, text))


class ChangingTests(StorageCase):
    """Defining, starting, stopping and forgetting pools."""

    def test_events(self) -> None:
        """Each step of a pool's life is published."""
        ref = self.define(pool("a", 1))
        self.calls.storage_pool_build(ref, 0)
        self.calls.storage_pool_create(ref, 0)
        self.calls.storage_pool_refresh(ref, 0)
        self.calls.storage_pool_destroy(ref)
        self.calls.storage_pool_delete(ref, 0)
        self.calls.storage_pool_undefine(ref)
        seen = [(event[1], *event[3:4]) for event in self.take_events()]
        names = ("DEFINED", "CREATED", "STARTED", None, "STOPPED", "DELETED", "UNDEFINED")
        expected = [(0, getattr(c, f"VIR_STORAGE_POOL_EVENT_{name}")) if name else (1,) for name in names]
        self.assertEqual(seen, expected)

    def test_wrong_state(self) -> None:
        """What a state does not allow."""
        text = INVALID + "storage pool 'default-pool' is active"
        self.assert_refused(self.calls.storage_pool_undefine, POOL, code=55, message=text)
        for call in (
            self.calls.storage_pool_create,
            self.calls.storage_pool_build,
            self.calls.storage_pool_delete,
        ):
            self.assert_refused(call, POOL, 0, code=55, message=text)
        self.calls.storage_pool_destroy(POOL)
        text = INVALID + "storage pool 'default-pool' is not active"
        self.assert_refused(self.calls.storage_pool_destroy, POOL, code=55, message=text)
        self.assert_refused(self.calls.storage_pool_refresh, POOL, 0, code=55, message=text)
        self.assert_refused(self.calls.storage_pool_list_volumes, POOL, 1, code=55, message=text)

    def test_transient(self) -> None:
        """A pool that was created from a document is gone once destroyed, and has no autostart."""
        ref = self.create(pool("t", 1))
        text = "invalid argument: pool has no config file"
        self.assert_refused(self.calls.storage_pool_set_autostart, ref, 1, code=8, message=text)
        self.calls.storage_pool_destroy(ref)
        self.assertEqual(self.listed(0), ["default-pool"])
        ref = self.define(pool("t", 1))
        self.create(pool("t", 1))
        self.assertEqual(self.calls.storage_pool_is_persistent(ref), 0)

    def test_duplicates(self) -> None:
        """A name and a UUID belong together, and a source to one pool."""
        self.create(pool("a", 1))
        uuid = UUID(int=1)
        for call in (self.define, self.create):
            text = f"operation failed: pool 'a' already exists with uuid {uuid}"
            self.assertEqual(self.refusal(call, pool("a", 2)), (9, 18, text))
            text = f"operation failed: pool 'a' is already defined with uuid {uuid}"
            self.assertEqual(self.refusal(call, pool("b", 1)), (9, 18, text))
            text = "operation failed: Storage source conflict with pool: 'a'"
            self.assertEqual(self.refusal(call, pool("b", 2, path="/pools/a")), (9, 18, text))
        text = INVALID + "pool is already active as 'a'"
        self.assertEqual(self.refusal(self.create, pool("a", 1)), (55, 18, text))

    def test_conflicts(self) -> None:
        """Which sources are the same, as libvirtd has it."""
        host, iqn = "<host name='h'/>", "<initiator><iqn name='q'/></initiator>"
        cases = [
            ("fs", "<device path='/d'/>", "logical", "<device path='/e'/><device path='/d'/>", True),
            ("fs", "<device path='/d'/>", "iscsi", f"{host}<device path='/d'/>", False),
            ("iscsi", f"{host}<device path='/d'/>", "iscsi", "<host name='i'/><device path='/d'/>", True),
            ("iscsi", f"{host}<device path='/d'/>", "iscsi", f"{host}<device path='/d'/>{iqn}", False),
            ("netfs", f"{host}<dir path='/e'/>", "netfs", f"{host}<dir path='/e/'/>", True),
            ("netfs", f"{host}<dir path='/e'/>", "netfs", "<host name='h' port='9'/><dir path='/e'/>", False),
            ("gluster", f"{host}<name>v</name>", "gluster", f"{host}<name>v</name><dir path='/z'/>", False),
            ("gluster", f"{host}<name>v</name>", "gluster", f"{host}<name>v</name>", True),
            ("rbd", f"{host}<name>v</name>", "rbd", f"{host}<name>v</name>", False),
            ("sheepdog", f"{host}<name>v</name>", "sheepdog", f"{host}<name>w</name>", True),
            ("vstorage", "<name>v</name>", "vstorage", "<name>v</name>", True),
            ("scsi", "<adapter name='host1'/>", "scsi", VIRTUAL.format(1), True),
            ("scsi", "<adapter name='scsi_host1'/>", "scsi", VIRTUAL.format(2), False),
            ("mpath", "", "mpath", "", True),
            ("scsi", "<adapter name='host1'/>", "scsi", "<adapter name='scsi_host1'/>", True),
            ("scsi", "<adapter name='host1'/>", "scsi", "<adapter name='host2'/>", False),
        ]
        for one, source, other, second, same in cases:
            ref = self.define(pool("one", 1, one, source))
            if same:
                text = "operation failed: Storage source conflict with pool: 'one'"
                self.assertEqual(self.refusal(self.define, pool("two", 2, other, second)), (9, 18, text))
            else:
                self.calls.storage_pool_undefine(self.define(pool("two", 2, other, second)))
            self.calls.storage_pool_undefine(ref)

    def test_redefined(self) -> None:
        """A newer definition of an active pool is not shown, and makes the pool look empty."""
        ref = self.create(pool("a", 1))
        self.make(ref, "v")
        before = self.calls.storage_pool_get_xml_desc(ref, 0)
        self.assertIn("<allocation unit='bytes'>100</allocation>", before)
        self.define(pool("a", 1, path="/elsewhere"))
        after = self.calls.storage_pool_get_xml_desc(ref, 0)
        self.assertIn("<path>/pools/a</path>", after)
        self.assertEqual(self.calls.storage_pool_get_info(ref), (2, SIZE, 0, SIZE))
        self.assertEqual(self.calls.storage_pool_list_volumes(ref, 9), ["v"])
        self.assertEqual(self.calls.storage_pool_is_persistent(ref), 1)

    def test_less_than_nothing(self) -> None:
        """A pool that was made to look empty, and then loses a volume, has libvirt's size below zero."""
        ref = self.create(pool("a", 1))
        gone = self.make(ref, "v")
        self.define(pool("a", 1))
        self.calls.storage_vol_delete(gone, 0)
        self.assertEqual(self.calls.storage_pool_get_info(ref), (2, SIZE, 2**64 - 100, SIZE + 100))
        self.assertIn(
            "<allocation unit='bytes'>18446744073709551516<", self.calls.storage_pool_get_xml_desc(ref, 0)
        )
        self.make(ref, "w")
        self.assertEqual(self.calls.storage_pool_get_info(ref), (2, SIZE, 0, SIZE))

    def test_virtual_adapter(self) -> None:
        """A pool on a virtual adapter that is created makes its device, and takes it along."""
        adapter = "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/>"
        devices = self.connection.nodedev
        ref = self.create(pool("v", 1, "scsi", adapter))
        self.assertIn("20000000c9831b4b", devices.node_device_get_xml_desc("scsi_host12", 0))
        self.calls.storage_pool_destroy(ref)
        self.assertEqual(devices.node_num_of_devices(None, 0), 4)
        ref = self.define(pool("v", 1, "scsi", adapter))
        self.calls.storage_pool_create(ref, 0)
        self.assertEqual(devices.node_num_of_devices(None, 0), 4)
        text = "Node device not found: no node device with matching name 'scsi_host12'"
        self.assert_refused(self.calls.storage_pool_destroy, ref, code=53, message=text)
        self.assertEqual(self.calls.storage_pool_is_active(ref), 0)

    def test_no_adapter_to_copy(self) -> None:
        """Where no device can be made the pool is not there either."""
        adapter = "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/>"
        self.connection.nodedev.node_device_destroy("scsi_host11")
        self.assertEqual(self.refusal(self.create, pool("v", 1, "scsi", adapter))[0], 53)
        self.assertEqual(self.listed(0), ["default-pool"])

    def test_flags(self) -> None:
        """Flags that a call does not know."""
        vol = self.make(POOL, "v")
        for call, arguments, function in (
            (self.calls.storage_pool_define_xml, ("", 2), "testStoragePoolDefineXML"),
            (self.calls.storage_pool_create_xml, ("", 2), "testStoragePoolCreateXML"),
            (self.calls.storage_pool_create, (POOL, 2), "testStoragePoolCreate"),
            (self.calls.storage_pool_build, (POOL, 2), "testStoragePoolBuild"),
            (self.calls.storage_pool_delete, (POOL, 2), "testStoragePoolDelete"),
            (self.calls.storage_pool_refresh, (POOL, 2), "testStoragePoolRefresh"),
            (self.calls.storage_pool_get_xml_desc, (POOL, 2), "testStoragePoolGetXMLDesc"),
            (self.calls.storage_pool_list_all_volumes, (POOL, 1, 2), "testStoragePoolListAllVolumes"),
            (self.calls.storage_vol_create_xml, (POOL, "", 2), "testStorageVolCreateXML"),
            (self.calls.storage_vol_create_xml_from, (POOL, "", vol, 2), "testStorageVolCreateXMLFrom"),
            (self.calls.storage_vol_delete, (vol, 2), "testStorageVolDelete"),
            (self.calls.storage_vol_get_xml_desc, (vol, 2), "testStorageVolGetXMLDesc"),
        ):
            text = f"unsupported flags (0x2) in function {function}"
            self.assert_refused(call, *arguments, code=8, message=text)

    def test_documents(self) -> None:
        """What libvirtd prints of a document, or refuses it with."""
        self.check_documents(
            "pool",
            self.define,
            lambda ref: self.calls.storage_pool_get_xml_desc(ref, 0),
            self.calls.storage_pool_undefine,
        )


class VolumeTests(StorageCase):
    """Volumes."""

    def test_one(self) -> None:
        """Lookups and properties of a volume."""
        calls = self.calls
        vol = self.make(POOL, "v")
        self.assertEqual(vol, ("default-pool", "v", "/default-pool/v"))
        self.assertEqual(calls.storage_vol_lookup_by_name(POOL, "v"), vol)
        self.assertEqual(calls.storage_vol_lookup_by_key("/default-pool/v"), vol)
        self.assertEqual(calls.storage_vol_lookup_by_path("/default-pool/v"), vol)
        self.assertEqual(calls.storage_pool_lookup_by_volume(vol), POOL)
        self.assertEqual(calls.storage_vol_get_path(vol), "/default-pool/v")
        self.assertEqual(calls.storage_vol_get_info(vol), (c.VIR_STORAGE_VOL_FILE, 100, 100))
        self.assertEqual(calls.storage_pool_list_all_volumes(POOL, 1, 0), ((vol,), 1))
        self.assertEqual(calls.storage_pool_list_all_volumes(POOL, 0, 0), ((), 1))
        self.assertEqual(calls.storage_pool_get_info(POOL), (2, SIZE, 100, SIZE - 100))
        calls.storage_vol_delete(vol, 0)
        self.assertEqual(calls.storage_pool_get_info(POOL), (2, SIZE, 0, SIZE))
        self.assertEqual(calls.storage_pool_list_all_volumes(POOL, 1, 0), ((), 0))

    def test_missing(self) -> None:
        """What there is not."""
        gone = NonnullStorageVol("default-pool", "gone", "key")
        start = "Storage volume not found: no storage vol with matching"
        for call, what, arguments in (
            (self.calls.storage_vol_lookup_by_name, "name 'gone'", (POOL, "gone")),
            (self.calls.storage_vol_lookup_by_key, "key 'gone'", ("gone",)),
            (self.calls.storage_vol_lookup_by_path, "path 'gone'", ("gone",)),
            (self.calls.storage_vol_get_info, "name 'gone'", (gone,)),
            (self.calls.storage_vol_delete, "name 'gone'", (gone, 0)),
        ):
            self.assert_refused(call, *arguments, code=50, message=f"{start} {what}")

    def test_inactive_pool(self) -> None:
        """The volumes of an inactive pool are out of reach until it is active again."""
        vol = self.make(POOL, "v")
        self.calls.storage_pool_destroy(POOL)
        text = INVALID + "storage pool 'default-pool' is not active"
        for call in (self.calls.storage_vol_get_info, self.calls.storage_vol_get_path):
            self.assert_refused(call, vol, code=55, message=text)
        self.assert_refused(self.calls.storage_vol_create_xml, POOL, "", 0, code=55, message=text)
        text = INVALID + "storage pool is not active"
        self.assert_refused(self.calls.storage_pool_list_all_volumes, POOL, 1, 0, code=55, message=text)
        self.assertEqual(self.refusal(self.calls.storage_vol_lookup_by_key, vol.key)[0], 50)
        self.calls.storage_pool_create(POOL, 0)
        self.assertEqual(self.calls.storage_pool_list_volumes(POOL, 9), ["v"])

    def test_room(self) -> None:
        """A pool can be filled to its last byte."""
        self.make(POOL, "big", SIZE - 1)
        text = "internal error: Not enough free space in pool for volume 'v'"
        self.assertEqual(self.refusal(self.make, POOL, "v", 2), (1, 12, text))
        self.make(POOL, "last", 1)
        text = "operation failed: storage vol already exists"
        self.assertEqual(self.refusal(self.make, POOL, "last", 0), (9, 12, text))

    def test_from_another(self) -> None:
        """The volume to copy is looked for by its name in the same pool, and its size does not matter."""
        calls = self.calls
        orig = self.make(POOL, "orig", 500)
        copy = calls.storage_vol_create_xml_from(POOL, volume("copy"), orig, 0)
        self.assertEqual(calls.storage_vol_get_info(copy), (c.VIR_STORAGE_VOL_FILE, 100, 100))
        other = self.create(pool("other", 1))
        text = "Storage volume not found: no storage vol with matching name 'orig'"
        self.assert_refused(
            calls.storage_vol_create_xml_from, other, volume("copy"), orig, 0, code=50, message=text
        )

    def test_kinds(self) -> None:
        """The type of a volume is up to its pool."""
        host = "<host name='h'/>"
        for kind, source, number in (
            ("logical", "", c.VIR_STORAGE_VOL_BLOCK),
            ("rbd", f"<name>p</name>{host}", c.VIR_STORAGE_VOL_NETWORK),
            ("netfs", f"{host}<dir path='/e'/>", c.VIR_STORAGE_VOL_FILE),
        ):
            ref = self.create(pool("k", 1, kind, source))
            self.assertEqual(self.calls.storage_vol_get_info(self.make(ref, "v")).type, number)
            self.calls.storage_pool_destroy(ref)

    def test_node_file(self) -> None:
        """Volumes in a node file keep path and key, where they have them, and must fit."""
        start = pool("p", 1).removesuffix("</pool>")
        target = "<target><path>/x</path></target>"
        own = f"<volume><name>b</name><key>k</key><capacity>7</capacity>{target}</volume>"
        world = load_world(f"<node>{start}{volume('a')}{own}</pool></node>", "/n.xml", Node())
        record = world.pools.by_name["p"]
        models = [volume.model for volume in record.volumes]
        self.assertEqual([(model.key, model.path) for model in models], [("/pools/p/a",) * 2, ("k", "/x")])
        self.assertEqual((record.active, record.persistent, record.model.allocation), (True, True, 107))
        text = f"<node>{start}{volume('a', SIZE + 1)}</pool></node>"
        error = self.assertRaises(VirError, load_world, text, "/n.xml", Node())
        self.assertEqual(error.detail, "Not enough free space in pool for volume 'a'")

    def test_resize(self) -> None:
        """Not supported; but what libvirt's clients check is checked first."""
        vol = self.make(POOL, "v")
        text = "capacity in virStorageVolResize cannot be zero without 'delta' or 'shrink' flags set"
        self.assertEqual(self.refusal(self.calls.storage_vol_resize, vol, 0, 0), (8, 18, text))
        self.assertEqual(self.refusal(self.calls.storage_vol_resize, vol, 5, 0)[:2], (3, 18))

    def test_documents(self) -> None:
        """What libvirtd prints of a document, or refuses it with."""
        self.check_documents(
            "volume",
            lambda text: self.calls.storage_vol_create_xml(POOL, text, 0),
            lambda ref: self.calls.storage_vol_get_xml_desc(ref, 0),
            lambda ref: self.calls.storage_vol_delete(ref, 0),
        )
