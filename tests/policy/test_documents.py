"""Calls that define objects."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.policy import enforce
from remotevirt.stubs import constants as vir
from remotevirt.stubs import remote
from remotevirt.stubs.errors import AccessDenied, NoDomain
from remotevirt.stubs.remote.types import TypedParamValue
from tests.policy.calling import DOMAIN, METADATA, TENANT, Caller, GuardCase, allow, deny, rights
from tests.policy.fakes import Recorder, connection


class DocumentTests(GuardCase):
    """Calls that define something."""

    def define(self, caller: Caller, name: str, **parts: str) -> Any:
        """Define a domain."""
        parts = {"uuid": "", "metadata": "", **parts}
        return caller("domain_define_xml", DOMAIN.format(name=name, **parts))

    def test_name(self) -> None:
        """What is defined must be allowed."""
        caller = self.caller(allow("domain:*", name="web-*"))
        self.assertEqual("web-9", self.define(caller, "web-9").name)
        self.refused("domain:write", self.define, caller, "db-9")

    def test_redefine(self) -> None:
        """What is there already, by UUID or name, must be allowed as well."""
        caller = self.caller(allow("domain:*", name="web-*"))
        web, db = self.refs["web-1"], self.refs["db-1"]
        uuid = "<uuid>{}</uuid>"
        self.assertEqual(web, self.define(caller, "web-1", uuid=uuid.format(web.uuid.hex())))
        self.refused("domain:write", self.define, caller, "web-8", uuid=uuid.format(db.uuid.hex()))
        by_uuid = self.caller(allow("domain:*", uuid=web.uuid.hex()))
        self.refused("domain:write", self.define, by_uuid, "db-1", uuid=uuid.format(web.uuid.hex()))
        self.refused("domain:write", self.define, by_uuid, "web-8")

    def test_names_that_are_read_in_two_ways(self) -> None:
        """A name that another parser might read otherwise counts as not known."""
        caller = self.caller(allow("domain:*", name="*"), deny("domain:*", name="db-*"))
        for name in (
            " web-5",
            "web-5\n",
            "web<!-- x -->-5",
            "web<x/>-5",
            "web-5</name><name>db-5",
            "w" * 5000,
            "web-5</name><x:name xmlns:x='y'>db-5</x:name><name>web-5",
            "",
        ):
            self.refused("domain:write", self.define, caller, name)
        self.define(caller, "<![CDATA[web-5]]>")
        for uuid in ("<uuid>1</uuid>", "<uuid>" + "1" * 32 + "</uuid><uuid>" + "2" * 32 + "</uuid>"):
            self.refused(
                "domain:write", self.define, self.caller(allow("domain:*", uuid="1" * 32)), "a", uuid=uuid
            )

    def test_not_parsed_in_vain(self) -> None:
        """Whoever may define nothing has no document read; a broken one is an error of its own."""
        caller = self.caller(allow("domain:save", name="web-*"))
        self.refused("domain:write", caller.method, "domain_define_xml")
        caller = self.caller(allow("domain:*", name="web-*"))
        error = self.assertRaises(VirError, caller, "domain_define_xml", "<domain>")
        self.assertEqual(vir.VIR_ERR_XML_DETAIL, error.code)
        bomb = "<!DOCTYPE x [<!ENTITY a 'b'>]><domain><name>&a;</name></domain>"
        self.assertEqual(
            vir.VIR_ERR_XML_ERROR, self.assertRaises(VirError, caller, "domain_define_xml", bomb).code
        )

    def test_metadata(self) -> None:
        """A tenant may define what is marked as its own, and redefine what is."""
        mine = "{uri='" + TENANT + "', value='blue'}"
        caller = self.caller(allow("domain:*", metadata=mine))
        blue, red = METADATA.format("blue"), METADATA.format("red")
        self.assertEqual("x", self.define(caller, "x", metadata=blue).name)
        self.refused("domain:write", self.define, caller, "y", metadata=red)
        self.refused("domain:write", self.define, caller, "y")
        uuid = f"<uuid>{self.refs['web-2'].uuid.hex()}</uuid>"
        self.refused("domain:write", self.define, caller, "web-2", uuid=uuid, metadata=blue)
        uuid = f"<uuid>{self.refs['web-1'].uuid.hex()}</uuid>"
        self.refused("domain:write", self.define, caller, "web-1", uuid=uuid, metadata=red)
        self.assertEqual("web-1", self.define(caller, "web-1", uuid=uuid, metadata=blue).name)
        twice = blue.replace("</metadata>", "<t:x xmlns:t='https://example.org/tenant'/></metadata>")
        self.refused("domain:write", self.define, caller, "z", metadata=twice)
        self.refused("domain:write", self.define, caller, "z", metadata=blue + red)

    def test_metadata_of_what_is_there(self) -> None:
        """Is asked of the driver, at every call."""
        mine = "{uri='" + TENANT + "', value='blue'}"
        caller = self.caller(allow("domain:read", metadata=mine))
        caller("domain_get_info", self.refs["web-1"])
        self.refused("domain:read", caller, "domain_get_info", self.refs["web-2"])
        self.hypervisor.domain_set_metadata(self.refs["web-1"], 2, "<t>red</t>", "t", TENANT, 0)
        self.refused("domain:read", caller, "domain_get_info", self.refs["web-1"])
        self.hypervisor.domain_set_metadata(self.refs["web-1"], 2, None, "t", TENANT, 0)
        self.refused("domain:read", caller, "domain_get_info", self.refs["web-1"])
        gold = self.caller(allow("domain:read", metadata=mine[:-1] + ", attribute='class'}"))
        self.refused("domain:read", gold, "domain_get_info", self.refs["web-2"])

    def test_other_documents(self) -> None:
        """Networks, pools, interfaces; a name may be missing."""
        caller = self.caller(allow("*:*", name="web-*"), allow("connect:*"))
        xml = "<network><name>{}</name><bridge name='b9'/></network>"
        self.assertEqual("web-n", caller("network_define_xml", xml.format("web-n")).name)
        self.refused("network:write", caller, "network_define_xml", xml.format("n"))
        pool = "<pool type='dir'>{}<target><path>/x</path></target></pool>"
        made = caller("storage_pool_define_xml", pool.format("<name>web-p</name>"), 0)
        self.assertEqual("web-p", made.name)
        self.refused("storage_pool:write", caller, "storage_pool_define_xml", pool.format(""), 0)
        interface = "<interface type='ethernet' name='{}'/>"
        self.assertEqual("web-i", caller("interface_define_xml", interface.format("web-i"), 0).name)
        self.refused("interface:write", caller, "interface_define_xml", interface.format("i"), 0)


class MigrationTests(SynchronousTestCase):
    """A guest that comes from another host."""

    def call(self, call: str, *args: Any, **on: str) -> Any:
        """Call with rights on domains of a name."""
        method = Recorder()
        procedure = remote.PROGRAM.by_name[call]
        guarded = enforce(remote.PROGRAM, procedure, method, rights(allow("domain:*", **on)), connection())
        guarded(*args)
        return method.calls

    def prepare(self, name: str | None, document: str, *more: tuple[str, str]) -> Any:
        """Prepare with typed parameters; allowed is ``new-*``."""
        fields = [(vir.VIR_MIGRATE_PARAM_DEST_XML, f"<domain><name>{document}</name></domain>"), *more]
        if name is not None:
            fields.append((vir.VIR_MIGRATE_PARAM_DEST_NAME, name))
        params = [remote.TypedParam(field, TypedParamValue(7, value)) for field, value in fields]
        return self.call("domain_migrate_prepare3_params", params, b"", 0, name="new-*")

    def test_names(self) -> None:
        """The name that it shall have goes before that of its document."""
        self.assertEqual(1, len(self.prepare(None, "new-1")))
        self.assertEqual(1, len(self.prepare("new-1", "old")))
        for name, document in ((None, "old"), ("old", "new-1"), ("", "new-1"), (None, "")):
            self.assertRaises(AccessDenied, self.prepare, name, document)

    def test_twice(self) -> None:
        """Nobody knows which one a driver takes."""
        for field, value in (
            (vir.VIR_MIGRATE_PARAM_DEST_NAME, "one"),
            (vir.VIR_MIGRATE_PARAM_DEST_XML, "<domain><name>one</name></domain>"),
        ):
            self.assertRaises(AccessDenied, self.prepare, "new-1", "new-1", (field, value))

    def test_no_document(self) -> None:
        """Without one nobody knows anything."""
        self.assertRaises(AccessDenied, self.call, "domain_migrate_prepare3_params", [], b"", 0, name="new-*")

    def test_plain_arguments(self) -> None:
        """The older forms."""
        xml = "<domain><name>old</name></domain>"
        prepare = "domain_migrate_prepare2"
        self.assertEqual(1, len(self.call(prepare, None, 0, "new-1", 0, xml, name="new-*")))
        for name in (None, "", "one"):
            self.assertRaises(AccessDenied, self.call, prepare, None, 0, name, 0, xml, name="new-*")

    def test_finish(self) -> None:
        """It must be there, and allowed."""
        self.assertEqual(1, len(self.call("domain_migrate_finish", "one", b"", "", 0, name="one")))
        self.assertRaises(AccessDenied, self.call, "domain_migrate_finish", "two", b"", "", 0, name="one")
        self.assertRaises(NoDomain, self.call, "domain_migrate_finish", "x", b"", "", 0, name="one")
