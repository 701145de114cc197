"""Calls that refer to objects, honestly and not."""

from __future__ import annotations

from remotevirt.errors import VirError
from remotevirt.policy import guards
from remotevirt.stubs import constants as vir
from remotevirt.stubs.remote import NonnullDomain, NonnullNetwork, NonnullStoragePool, NonnullStorageVol
from tests.policy.calling import DOMAIN, GuardCase, allow, deny


class ReferenceTests(GuardCase):
    """Calls that refer to an object."""

    def test_certain_costs_nothing(self) -> None:
        """What is allowed for all objects is the driver's own method."""
        caller = self.caller(allow("domain:read"))
        self.assertEqual(self.hypervisor.domain_get_info, caller.method("domain_get_info"))

    def test_impossible(self) -> None:
        """What is allowed for none has no method at all."""
        caller = self.caller(allow("domain:read"))
        self.refused("domain:start", caller.method, "domain_create")

    def test_by_name(self) -> None:
        """What depends on the name is decided by the true one."""
        caller = self.caller(allow("domain:read", name="web-*"))
        self.assertEqual(5, caller("domain_get_info", self.refs["web-1"]).state)
        self.refused("domain:read", caller, "domain_get_info", self.refs["db-1"])

    def test_forged_name(self) -> None:
        """The UUID of one with the name of another is allowed only if both are, whichever way around."""
        web, db = self.refs["web-1"], self.refs["db-1"]
        for rule in (allow("domain:read", name="web-*"), allow("domain:read", uuid=web.uuid.hex())):
            caller = self.caller(rule)
            self.refused("domain:read", caller, "domain_get_info", NonnullDomain(web.name, db.uuid, -1))
            self.refused("domain:read", caller, "domain_get_info", NonnullDomain(db.name, web.uuid, -1))
        caller = self.caller(allow("domain:read"), deny("domain:read", name="db-*"))
        self.refused("domain:read", caller, "domain_get_info", NonnullDomain("x", db.uuid, -1))

    def test_forged_id(self) -> None:
        """The id of another one."""
        running = self.hypervisor.domain_lookup_by_name("test")
        caller = self.caller(allow("domain:read", name="web-*"))
        web = self.refs["web-1"]
        self.refused("domain:read", caller, "domain_get_info", web._replace(id=running.id))
        caller("domain_get_info", web._replace(id=77))

    def test_every_mixture(self) -> None:
        """Allowed is exactly what leads to something, and to nothing that is not allowed."""
        running = self.hypervisor.domain_create_with_flags(self.refs["db-1"], 0)
        web = self.refs["web-1"]
        caller = self.caller(allow("domain:read", name="web-*"))
        there = {"web-1": True, "db-1": False, web.uuid: True, running.uuid: False, running.id: False}
        for name in ("web-1", "db-1", "web-9", ""):
            for uuid in (web.uuid, running.uuid, b"9" * 16):
                for id in (-1, running.id, 4711):
                    ref = NonnullDomain(name, uuid, id)
                    hits = [there[part] for part in ref if part in there]
                    try:
                        caller("domain_get_info", ref)
                        code = 0
                    except VirError as error:
                        code = error.code
                    if False in hits:
                        self.assertEqual(vir.VIR_ERR_ACCESS_DENIED, code, ref)
                    else:  # the test driver goes by UUID
                        self.assertEqual(0 if uuid in there else vir.VIR_ERR_NO_DOMAIN, code, ref)

    def test_stale_name(self) -> None:
        """A client may know a domain by the name that it had."""
        caller = self.caller(allow("domain:read", name="web-*"))
        self.hypervisor.domain_rename(self.refs["web-1"], "web-9", 0)
        caller("domain_get_info", self.refs["web-1"])
        self.hypervisor.domain_rename(self.refs["web-2"], "other", 0)
        self.refused("domain:read", caller, "domain_get_info", self.refs["web-2"])

    def test_again_and_again(self) -> None:
        """A reference that was allowed is not for ever."""
        method = self.caller(allow("domain:read", name="web-*")).method("domain_get_info")
        web = self.refs["web-1"]
        for _ in range(3):
            method(web)
        running = self.hypervisor.domain_create_with_flags(web, 0)
        for ref in (web, running, web, running):
            method(ref)
        self.refused("domain:read", method, self.refs["db-1"]._replace(id=running.id))
        self.hypervisor.domain_destroy(web)
        self.hypervisor.domain_rename(web, "web-3", 0)
        method(web)
        renamed = web._replace(name="web-3")
        for _ in range(3):
            method(renamed)
        self.hypervisor.domain_rename(web, "db-3", 0)
        for ref in (web, renamed):
            self.refused("domain:read", method, ref)
        self.hypervisor.domain_undefine(web)
        error = self.assertRaises(VirError, method, renamed)
        self.assertEqual(vir.VIR_ERR_NO_DOMAIN, error.code)

    def test_nothing_of_the_clients_is_kept(self) -> None:
        """A client cannot fill memory with names."""
        caller = self.caller(allow("domain:*", name=["web-*", "x*"]))
        method = caller.method("domain_get_info")
        for number in range(50):
            method(self.refs["web-1"]._replace(name=f"x{number}"))
        method(self.refs["web-1"])
        self.assertEqual({self.refs["web-1"]}, method._quick._approved)
        self.patch(guards, "APPROVED_MAXIMUM", 1)
        long = self.hypervisor.domain_define_xml(DOMAIN.format(name="x" * 300, uuid="", metadata=""))
        for ref in (self.refs["web-1"], self.refs["web-2"], long):
            method(ref)
        self.assertEqual({self.refs["web-2"]}, method._quick._approved)
        define = caller.method("domain_define_xml")
        for size, kept in ((100, 2), (1000, 0)):
            before = len(caller.rights._answers)
            error = self.assertRaises(VirError, define, f"<x><name>x{'y' * size}</name></x>")
            self.assertNotEqual(vir.VIR_ERR_ACCESS_DENIED, error.code)
            self.assertEqual(kept, len(caller.rights._answers) - before)

    def test_absent(self) -> None:
        """What is not there gets the driver's own error."""
        caller = self.caller(allow("domain:read", name="web-*"))
        error = self.assertRaises(VirError, caller, "domain_get_info", NonnullDomain("no", b"0" * 16, -1))
        self.assertEqual(vir.VIR_ERR_NO_DOMAIN, error.code)

    def test_names_that_do_not_exist_lend_nothing(self) -> None:
        """A name that nobody has does not help with the UUID of another."""
        caller = self.caller(allow("domain:read", name="web-*"))
        forged = NonnullDomain("web-7", self.refs["db-1"].uuid, -1)
        self.refused("domain:read", caller, "domain_get_info", forged)

    def test_network_goes_by_name(self) -> None:
        """The driver finds networks by name in some calls, by UUID in others."""
        network = self.connection.network
        own = network.network_define_xml("<network><name>web</name><bridge name='b7'/></network>")
        other = network.network_lookup_by_name("default")
        caller = self.caller(allow("network:*", name="web"))
        caller("network_set_autostart", own, 1)
        for forged in (NonnullNetwork("default", own.uuid), NonnullNetwork("web", other.uuid)):
            self.refused("network:write", caller, "network_set_autostart", forged, 1)
            self.refused("network:read", caller, "network_is_active", forged)

    def test_pool_and_volumes(self) -> None:
        """Pools go by name or UUID, volumes by the name of their pool; a rule may ask for the pool."""
        storage = self.connection.storage
        pool = storage.storage_pool_lookup_by_name("default-pool")
        caller = self.caller(
            allow("storage_vol:*", name="web-*", parent="default-pool"), allow("storage_pool:*")
        )
        volume = "<volume><name>{}</name><capacity>1</capacity></volume>"
        made = caller("storage_vol_create_xml", pool, volume.format("web-a"), 0)
        self.refused("storage_vol:create", caller, "storage_vol_create_xml", pool, volume.format("db-a"), 0)
        other = storage.storage_vol_create_xml(pool, volume.format("db-a"), 0)
        self.assertEqual(made, caller("storage_vol_lookup_by_name", pool, "web-a"))
        self.refused("storage_vol:getattr", caller, "storage_vol_lookup_by_name", pool, "db-a")
        self.refused("storage_vol:read", caller, "storage_vol_get_path", other)
        forged = NonnullStorageVol("default-pool", "web-a", other.key)
        self.refused("storage_vol:read", caller, "storage_vol_get_path", forged)
        self.assertEqual(made.key, caller("storage_vol_get_path", made))
        self.assertEqual(["web-a"], list(caller("storage_pool_list_volumes", pool, 1)))
        self.assertEqual(1, caller("storage_pool_num_of_volumes", pool))
        self.assertEqual([made], list(caller("storage_pool_list_all_volumes", pool, 1, 0).vols))
        self.refused(
            "storage_vol:data_read",
            caller,
            "storage_vol_create_xml_from",
            pool,
            volume.format("web-b"),
            other,
            0,
        )
        caller("storage_vol_create_xml_from", pool, volume.format("web-b"), made, 0)
        forged_pool = NonnullStoragePool("default-pool", b"9" * 16)
        caller("storage_vol_create_xml", forged_pool, volume.format("web-c"), 0)
        elsewhere = self.caller(allow("storage_vol:*", parent="other"), allow("storage_pool:*"))
        self.refused("storage_vol:create", elsewhere, "storage_vol_create_xml", pool, volume.format("a"), 0)

    def test_node_device(self) -> None:
        """A device has a name and nothing else."""
        names = self.connection.nodedev.node_list_devices(None, 9, 0)
        caller = self.caller(allow("node_device:*", name=names[0]), allow("connect:*"))
        caller("node_device_get_xml_desc", names[0], 0)
        self.refused("node_device:read", caller, "node_device_get_xml_desc", "computer2", 0)
        self.assertEqual([names[0]], list(caller("node_list_devices", None, 5, 0)))

    def test_interface(self) -> None:
        """The MAC address belongs to the name."""
        interface = self.connection.interface
        (name,) = interface.connect_list_interfaces(5)
        ref = interface.interface_lookup_by_name(name)
        caller = self.caller(allow("interface:*", name=name))
        caller("interface_is_active", ref)
        second = interface.interface_define_xml(
            "<interface type='ethernet' name='eth7'><mac address='aa:bb:cc:dd:ee:01'/></interface>", 0
        )
        self.refused("interface:read", caller, "interface_is_active", second._replace(name=name))
        self.refused("interface:read", caller, "interface_is_active", second)

    def test_flags(self) -> None:
        """Some permissions are needed only with some flags."""
        caller = self.caller(allow("domain:read"), allow("domain:read_secure", name="web-*"))
        caller("domain_get_xml_desc", self.refs["db-1"], 0)
        caller("domain_get_xml_desc", self.refs["web-1"], vir.VIR_DOMAIN_XML_SECURE)
        self.refused(
            "domain:read_secure", caller, "domain_get_xml_desc", self.refs["db-1"], vir.VIR_DOMAIN_XML_SECURE
        )

    def test_rename(self) -> None:
        """The new name has to be allowed as well."""
        caller = self.caller(allow("domain:*", name="web-*"))
        self.refused("domain:write", caller, "domain_rename", self.refs["web-1"], "db-2", 0)
        self.refused("domain:write", caller, "domain_rename", self.refs["db-1"], "web-7", 0)
        self.assertEqual(0, caller("domain_rename", self.refs["web-1"], "web-7", 0))

    def test_unknown_domain(self) -> None:
        """What is in a file nobody knows: only rights over all domains help."""
        caller = self.caller(allow("domain:*", name="*"))
        self.refused("domain:start", caller, "domain_restore", "/tmp/x")
        caller = self.caller(allow("domain:*"), deny("domain:start", name="db-*"))
        self.refused("domain:start", caller.method("domain_restore"), "/tmp/x")
        self.caller(allow("domain:*")).method("domain_restore")
