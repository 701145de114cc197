"""The strict checks of documents that calls can ask the test hypervisor for."""

from __future__ import annotations

from typing import Any

from remotevirt.errors import VirError
from remotevirt.stubs import constants as c
from remotevirt.stubs.remote import NonnullStoragePool
from remotevirt.xml.schema import SCHEMAS
from tests.drivers.objects import ObjectsCase

REFUSED = c.VIR_ERR_XML_INVALID_SCHEMA if SCHEMAS.exists() else c.VIR_ERR_INTERNAL_ERROR
"""The code for what does not fit: where libvirt's schemas are not installed, nothing can be checked."""

POOL = NonnullStoragePool("default-pool", bytes.fromhex("dfe224cb28fb8dd0c4b264eb3f0f4566"))


class ValidationTests(ObjectsCase):
    """The VALIDATE flags of networks, interfaces, pools, volumes and devices."""

    def check(self, call: Any, *arguments: Any) -> None:
        """Check that a call takes a document with a word that is unknown, and not if it shall be strict."""
        error = self.assertRaises(VirError, call, *arguments)
        assert isinstance(error, VirError)
        self.assertEqual(error.code, REFUSED, error.message)
        call(*arguments[:-1], 0)

    def test_networks(self) -> None:
        """Networks that are defined and that are created."""
        calls = self.connection.network
        define, create = c.VIR_NETWORK_DEFINE_VALIDATE, c.VIR_NETWORK_CREATE_VALIDATE
        self.check(calls.network_define_xml_flags, "<network><name>a</name><odd/></network>", define)
        self.check(calls.network_create_xml_flags, "<network><name>b</name><odd/></network>", create)

    def test_interfaces(self) -> None:
        """Interfaces of the host."""
        text = "<interface type='ethernet' name='e'><odd/></interface>"
        self.check(self.connection.interface.interface_define_xml, text, c.VIR_INTERFACE_DEFINE_VALIDATE)

    def test_storage(self) -> None:
        """Pools and volumes."""
        calls = self.connection.storage
        text = "<pool type='dir'><name>p</name><target><path>/p</path></target><odd/></pool>"
        self.check(calls.storage_pool_define_xml, text, c.VIR_STORAGE_POOL_DEFINE_VALIDATE)
        text = "<volume><name>v</name><capacity>1</capacity><odd/></volume>"
        self.check(calls.storage_vol_create_xml, POOL, text, c.VIR_STORAGE_VOL_CREATE_VALIDATE)

    def test_devices(self) -> None:
        """Virtual host bus adapters."""
        text = (
            "<device><parent>scsi_host1</parent><odd/><capability type='scsi_host'>"
            "<capability type='fc_host'><wwpn>1111222233334444</wwpn>"
            "<wwnn>5555666677778888</wwnn></capability></capability></device>"
        )
        strict = c.VIR_NODE_DEVICE_CREATE_XML_VALIDATE
        self.check(self.connection.nodedev.node_device_create_xml, text, strict)
