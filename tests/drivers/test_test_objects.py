"""Networks, pools, interfaces and devices of the default world: the side that can be looked at."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from twisted.trial.unittest import TestCase

from remotevirt.errors import VirError
from remotevirt.stubs.remote import NonnullInterface, NonnullNetwork, NonnullStoragePool
from tests.drivers.driving import connect

NETWORK = NonnullNetwork("default", UUID("dd8fe884-6c02-601e-7551-cca97df1c5df").bytes)
POOL = NonnullStoragePool("default-pool", UUID("dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566").bytes)
INTERFACE = NonnullInterface("eth1", "aa:bb:cc:dd:ee:ff")

NETWORK_XML = """\
<network>
  <name>default</name>
  <uuid>dd8fe884-6c02-601e-7551-cca97df1c5df</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
"""
POOL_XML = """\
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
INTERFACE_XML = """\
<interface type='ethernet' name='eth1'>
  <start mode='onboot'/>
  <mtu size='1492'/>
  <protocol family='ipv4'>
    <ip address='192.168.0.5' prefix='24'/>
    <route gateway='192.168.0.1'/>
  </protocol>
  <mac address='aa:bb:cc:dd:ee:ff'/>
</interface>
"""
DEVICE_XML = """\
<device>
  <name>scsi_host11</name>
  <parent>scsi_host1</parent>
  <capability type='scsi_host'>
    <host>11</host>
    <unique_id>10</unique_id>
    <capability type='fc_host'>
      <wwnn>2000000034563456</wwnn>
      <wwpn>1000000034563456</wwpn>
      <fabric_wwn>2000000043214321</fabric_wwn>
    </capability>
  </capability>
</device>
"""


class ObjectsCase(TestCase):
    """A connection to a default world."""

    def setUp(self) -> None:
        self.connection: Any = connect()

    def assert_refused(self, call: Any, *arguments: Any, code: int, message: str) -> None:
        """Check the error of a call."""
        error = self.assertRaises(VirError, call, *arguments)
        self.assertEqual((error.code, error.message), (code, message))


class NetworkTests(ObjectsCase):
    """The network "default"."""

    def test_network(self) -> None:
        """Lists, lookups, properties and XML."""
        calls = self.connection.network
        self.assertEqual((calls.connect_num_of_networks(), calls.connect_num_of_defined_networks()), (1, 0))
        self.assertEqual(calls.connect_list_networks(5), ["default"])
        self.assertEqual(calls.connect_list_defined_networks(5), [])
        self.assertEqual(calls.connect_list_networks(0), [])
        listed = [flags for flags in (1, 2, 4, 8, 16, 32) if calls.connect_list_all_networks(1, flags).ret]
        self.assertEqual(listed, [2, 4, 32])
        self.assertEqual(calls.connect_list_all_networks(1, 0), ([NETWORK], 1))
        self.assertEqual(calls.connect_list_all_networks(0, 0), ((), 1))
        self.assertEqual(calls.network_lookup_by_name("default"), NETWORK)
        self.assertEqual(calls.network_lookup_by_uuid(NETWORK.uuid), NETWORK)
        self.assertEqual(calls.network_get_xml_desc(NETWORK, 0), NETWORK_XML)
        self.assertEqual(calls.network_get_bridge_name(NETWORK), "virbr0")
        self.assertEqual((calls.network_is_active(NETWORK), calls.network_is_persistent(NETWORK)), (1, 1))
        self.assertEqual(calls.network_get_autostart(NETWORK), 0)
        calls.network_set_autostart(NETWORK, 1)
        self.assertEqual(calls.network_get_autostart(NETWORK), 1)
        self.assertEqual(calls.connect_list_all_networks(1, 16).ret, 1)

    def test_missing(self) -> None:
        """Name or UUID: whichever a call goes by is in the error."""
        calls = self.connection.network
        gone = NonnullNetwork("gone", b"z" * 16)
        uuid = "7a7a7a7a-7a7a-7a7a-7a7a-7a7a7a7a7a7a"
        text = "Network not found: no network with matching name 'gone'"
        self.assert_refused(calls.network_get_autostart, gone, code=43, message=text)
        text = f"Network not found: no network with matching uuid '{uuid}'"
        self.assert_refused(calls.network_is_active, gone, code=43, message=text)
        text = "unsupported flags (0x40) in function testConnectListAllNetworks"
        self.assert_refused(calls.connect_list_all_networks, 1, 64, code=8, message=text)
        text = "maxnames > REMOTE_NETWORK_LIST_MAX"
        self.assert_refused(calls.connect_list_networks, 16385, code=39, message=text)


class PoolTests(ObjectsCase):
    """The pool "default-pool"."""

    def test_pool(self) -> None:
        """Lists, lookups, properties and XML."""
        calls = self.connection.storage
        self.assertEqual(calls.connect_num_of_storage_pools(), 1)
        self.assertEqual(calls.connect_num_of_defined_storage_pools(), 0)
        self.assertEqual(calls.connect_list_storage_pools(5), ["default-pool"])
        self.assertEqual(calls.connect_list_defined_storage_pools(5), [])
        listed = [bit for bit in range(20) if calls.connect_list_all_storage_pools(1, 1 << bit).ret]
        self.assertEqual(listed, [1, 2, 5, 6])
        self.assertEqual(calls.connect_list_all_storage_pools(1, 0), ([POOL], 1))
        self.assertEqual(calls.storage_pool_lookup_by_name("default-pool"), POOL)
        self.assertEqual(calls.storage_pool_lookup_by_uuid(POOL.uuid), POOL)
        self.assertEqual(calls.storage_pool_get_info(POOL), (2, 107374182400, 0, 107374182400))
        self.assertEqual(calls.storage_pool_get_xml_desc(POOL, 0), POOL_XML)
        self.assertEqual((calls.storage_pool_is_active(POOL), calls.storage_pool_is_persistent(POOL)), (1, 1))
        calls.storage_pool_set_autostart(POOL, 1)
        self.assertEqual(calls.storage_pool_get_autostart(POOL), 1)

    def test_missing(self) -> None:
        """Name or UUID: whichever a call goes by is in the error."""
        calls = self.connection.storage
        gone = NonnullStoragePool("gone", b"z" * 16)
        text = "Storage pool not found: no storage pool with matching name 'gone'"
        self.assert_refused(calls.storage_pool_get_info, gone, code=49, message=text)
        text = "Storage pool not found: no storage pool with matching uuid "
        text += "'7a7a7a7a-7a7a-7a7a-7a7a-7a7a7a7a7a7a'"
        self.assert_refused(calls.storage_pool_is_persistent, gone, code=49, message=text)


class InterfaceTests(ObjectsCase):
    """The interface "eth1"."""

    def test_interface(self) -> None:
        """Lists, lookups, properties and XML; a MAC address comes back as it was asked for."""
        calls = self.connection.interface
        self.assertEqual(calls.connect_num_of_interfaces(), 1)
        self.assertEqual(calls.connect_num_of_defined_interfaces(), 0)
        self.assertEqual(calls.connect_list_interfaces(5), ["eth1"])
        self.assertEqual(calls.connect_list_defined_interfaces(5), [])
        self.assertEqual(
            [calls.connect_list_all_interfaces(1, flags).ret for flags in range(4)], [1, 0, 1, 1]
        )
        self.assertEqual(calls.interface_lookup_by_name("eth1"), INTERFACE)
        upper = calls.interface_lookup_by_mac_string("AA:BB:CC:DD:EE:FF")
        self.assertEqual(upper, ("eth1", "AA:BB:CC:DD:EE:FF"))
        self.assertEqual(calls.interface_get_xml_desc(INTERFACE, 0), INTERFACE_XML)
        self.assertEqual(calls.interface_is_active(INTERFACE), 1)
        text = "Interface not found: no interface with matching mac 'zz'"
        self.assert_refused(calls.interface_lookup_by_mac_string, "zz", code=57, message=text)
        text = "Interface not found: no interface with matching name 'eth9'"
        self.assert_refused(calls.interface_lookup_by_name, "eth9", code=57, message=text)


class DeviceTests(ObjectsCase):
    """The host's four devices."""

    def test_devices(self) -> None:
        """Lists by capability (nested ones too), parents and XML."""
        calls = self.connection.nodedev
        self.assertEqual(calls.node_num_of_devices(None, 0), 4)
        self.assertEqual(calls.node_num_of_devices("scsi_host", 0), 3)
        self.assertEqual(calls.node_list_devices("system", 10, 0), ["computer"])
        self.assertEqual(calls.node_list_devices(None, 2, 0), ["computer", "scsi_host1"])
        counts = [calls.connect_list_all_node_devices(1, 1 << bit).ret for bit in range(22)]
        self.assertEqual(counts, [1, 0, 0, 0, 0, 3, 0, 0, 0, 3, 2] + [0] * 11)
        self.assertEqual(calls.connect_list_all_node_devices(0, 0), ((), 4))
        self.assertEqual(calls.node_device_get_parent("scsi_host11"), "scsi_host1")
        self.assertIsNone(calls.node_device_get_parent("computer"))
        self.assertEqual(calls.node_device_list_caps("scsi_host1", 10), ["scsi_host"])
        self.assertEqual(calls.node_device_num_of_caps("scsi_host1"), 1)
        self.assertEqual(calls.node_device_get_xml_desc("scsi_host11", 0), DEVICE_XML)
        text = "Node device not found: no node device with matching name 'zz'"
        self.assert_refused(calls.node_device_lookup_by_name, "zz", code=53, message=text)
        text = "unsupported flags (0x400000) in function testConnectListAllNodeDevices"
        self.assert_refused(calls.connect_list_all_node_devices, 1, 1 << 22, code=8, message=text)
