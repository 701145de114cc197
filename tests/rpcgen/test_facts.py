"""The fact tables and what is generated from them."""

from __future__ import annotations

import builtins
import copy
import subprocess
import sys
from enum import IntEnum, IntFlag
from importlib import resources

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen import facts
from remotevirt.stubs import access, constants, enums, errors, params

TABLES = facts.load()


class CommittedFilesTests(TestCase):
    """The files in the package are those that the generator makes."""

    def test_same_text(self) -> None:
        stubs = resources.files("remotevirt") / "stubs"
        for name, text in facts.generate().items():
            self.assertEqual((stubs / name).read_text(encoding="utf-8"), text, f"{name}: run `make generate`")

    def test_generate_twice(self) -> None:
        self.assertEqual(facts.generate(), facts.generate(TABLES))

    def test_note_comes_first(self) -> None:
        for name, text in facts.generate().items():
            first, second = text.splitlines()[:2]
            self.assertIn("make generate", first, name)
            self.assertIn("do not edit", first, name)
            self.assertTrue(second.startswith('"""'), name)


class TableTests(TestCase):
    """Slips in a table are found when it is printed, not when a driver trips over them."""

    def setUp(self) -> None:
        self.tables = copy.deepcopy(TABLES)

    def test_name_twice(self) -> None:
        state = self.tables.constants["enums"]["virDomainState"]["members"]
        state["VIR_TYPED_PARAM_INT"] = {"value": 9, "since": "1.0.0"}
        error = self.assertRaises(ValueError, facts.generate, self.tables)
        self.assertIn("VIR_TYPED_PARAM_INT is in the tables twice", str(error))

    def test_alias_of_nothing(self) -> None:
        state = self.tables.constants["enums"]["virDomainState"]["members"]
        state["VIR_DOMAIN_NEW"] = {"alias": "VIR_DOMAIN_NOWHERE", "since": "1.0.0"}
        self.assertRaises(KeyError, facts.generate, self.tables)

    def test_two_types_of_a_parameter(self) -> None:
        self.tables.constants["strings"]["VIR_DOMAIN_BLKIO_WEIGHT"]["type"] = "ULLONG"
        error = self.assertRaises(ValueError, facts.generate, self.tables)
        self.assertIn("'weight' has two types", str(error))

    def test_two_codes_of_a_class(self) -> None:
        codes = self.tables.errors["enums"]["virErrorNumber"]["members"]
        codes["VIR_ERR_No_Domain"] = {**codes["VIR_ERR_NO_DOMAIN"], "value": 4000}
        error = self.assertRaises(ValueError, facts.generate, self.tables)
        self.assertIn("same class name", str(error))

    def test_two_enums_of_a_class(self) -> None:
        self.tables.constants["enums"]["DomainState"] = {"kind": "values", "members": {}}
        error = self.assertRaises(ValueError, facts.generate, self.tables)
        self.assertIn("DomainState", str(error))

    def test_new_code_without_detail(self) -> None:
        codes = self.tables.errors["enums"]["virErrorNumber"]["members"]
        codes["VIR_ERR_BRAND_NEW"] = {"value": 4000, "since": "99.0.0", "plain": "brand new", "detail": None}
        text = facts.generate(self.tables)["errors.py"]
        self.assertIn('class BrandNew(VirError):\n    """VIR_ERR_BRAND_NEW, number 4000', text)
        self.assertIn('    format = "brand new"\n', text)

    def test_kind_of_enumerations(self) -> None:
        """Flags are single bits; what is named so is one; consecutive values are none."""
        for enum, table in TABLES.enumerations():
            values = {fact["value"] for fact in table["members"].values() if "value" in fact}
            if "Flag" in enum:
                self.assertEqual(table["kind"], "flags", enum)
            if table["kind"] == "flags":
                self.assertTrue(all(value >= 0 and value & (value - 1) == 0 for value in values), enum)
            if "State" in enum or "Reason" in enum or "Detail" in enum:
                self.assertEqual(table["kind"], "values", enum)

    def test_facts_have_their_keys(self) -> None:
        for _, table in TABLES.enumerations():
            for name, fact in table["members"].items():
                self.assertTrue(name.startswith("VIR_"), name)
                self.assertNotEqual("value" in fact, "alias" in fact, name)


class ConstantsTests(TestCase):
    """Plain numbers and strings."""

    def test_spot_checks(self) -> None:
        for name, value in {
            "LIBVIR_VERSION_NUMBER": 12008000,
            "VIR_UUID_BUFLEN": 16,
            "VIR_DOMAIN_RUNNING": 1,
            "VIR_DOMAIN_PMSUSPENDED": 7,
            "VIR_DOMAIN_XML_MIGRATABLE": 8,
            "VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS": 2**31,
            "VIR_NODE_CPU_STATS_ALL_CPUS": -1,
            "VIR_DOMAIN_EVENT_ID_LIFECYCLE": 0,
            "VIR_DOMAIN_SCHEDULER_VCPU_QUOTA": "vcpu_quota",
            "VIR_DOMAIN_MEMORY_PARAM_UNLIMITED": 9007199254740991,
            "VIR_ERR_NO_DOMAIN": 42,
            "VIR_WAR_NO_NODE": 51,
            "VIR_FROM_TEST": 12,
            "VIR_DRV_FEATURE_PROGRAM_KEEPALIVE": 10,
        }.items():
            self.assertEqual(getattr(constants, name), value, name)

    def test_success_has_two_names(self) -> None:
        """A code and a level are both zero and both public."""
        self.assertEqual((constants.VIR_ERR_OK, constants.VIR_ERR_NONE), (0, 0))

    def test_aliases(self) -> None:
        self.assertEqual(constants.VIR_DOMAIN_MEM_CONFIG, constants.VIR_DOMAIN_AFFECT_CONFIG)
        self.assertEqual(constants.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE, constants.VIR_DOMAIN_XML_SECURE)
        self.assertEqual(constants.VIR_KEYCODE_SET_RFB, constants.VIR_KEYCODE_SET_QNUM)
        self.assertEqual(constants.VIR_DOMAIN_QEMU_AGENT_COMMAND_MIN, -2)

    def test_sentinels_count(self) -> None:
        """A sentinel is one more than the last value, unless a member has that name too."""
        checked = 0
        for enum, table in TABLES.enumerations():
            if "value" in table.get("sentinel", ()):
                values = [getattr(constants, name) for name in table["members"]]
                self.assertEqual(getattr(constants, table["sentinel"]["name"]), max(values) + 1, enum)
                checked += 1
        self.assertGreater(checked, 70)

    def test_all_public_names_are_there(self) -> None:
        names = [name for name in vars(constants) if name.startswith(("VIR_", "LIBVIR_"))]
        members = sum(len(table["members"]) + ("sentinel" in table) for _, table in TABLES.enumerations())
        tables = TABLES.constants
        self.assertEqual(len(names), members + len(tables["integers"]) + len(tables["strings"]))


class EnumsTests(TestCase):
    """The same numbers as Python enums."""

    def test_members_equal_constants(self) -> None:
        for enum, table in TABLES.enumerations():
            cls = getattr(enums, facts.enum_class_name(enum))
            self.assertEqual(list(cls.__members__), list(table["members"]), enum)
            for name, member in cls.__members__.items():
                self.assertEqual(member.value, getattr(constants, name), name)

    def test_all(self) -> None:
        self.assertEqual(len(enums.__all__), len(list(TABLES.enumerations())))
        self.assertTrue(all(issubclass(getattr(enums, name), IntEnum | IntFlag) for name in enums.__all__))

    def test_flags_combine(self) -> None:
        both = enums.DomainModificationImpact(3)
        self.assertEqual(both, constants.VIR_DOMAIN_AFFECT_LIVE | constants.VIR_DOMAIN_AFFECT_CONFIG)
        self.assertIn(enums.DomainModificationImpact.VIR_DOMAIN_AFFECT_LIVE, both)

    def test_values_exclude_each_other(self) -> None:
        self.assertIs(enums.DomainState(1), enums.DomainState.VIR_DOMAIN_RUNNING)
        self.assertRaises(ValueError, enums.DomainState, 99)

    def test_alias_members(self) -> None:
        roots = enums.DomainSnapshotListFlags.VIR_DOMAIN_SNAPSHOT_LIST_ROOTS
        self.assertIs(roots, enums.DomainSnapshotListFlags.VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS)

    def test_no_module_on_the_way_of_a_message_imports_them(self) -> None:
        """They take longer to import than all other stubs together."""
        code = (
            "import sys\n"
            "import remotevirt.stubs.remote, remotevirt.stubs.errors, remotevirt.typed_params\n"
            "sys.exit('remotevirt.stubs.enums' in sys.modules)"
        )
        self.assertEqual(subprocess.run([sys.executable, "-c", code], check=False).returncode, 0)


class ErrorClassNameTests(TestCase):
    """How an error class is called."""

    def test_names(self) -> None:
        for code, name in {
            "VIR_ERR_NO_DOMAIN": "NoDomain",
            "VIR_ERR_RPC": "Rpc",
            "VIR_ERR_XML_ERROR": "XmlError",
            "VIR_WAR_NO_NETWORK": "WarNoNetwork",
            "VIR_ERR_SYSTEM_ERROR": "VirSystemError",
        }.items():
            self.assertEqual(facts.error_class_name(code), name)
            self.assertTrue(hasattr(errors, name))

    def test_no_builtin_is_hidden(self) -> None:
        self.assertEqual([name for name in errors.__all__ if hasattr(builtins, name)], [])


class ParamsTests(TestCase):
    """Types of typed parameters."""

    def test_spot_checks(self) -> None:
        types = params.TYPED_PARAM_TYPES
        self.assertEqual(types["vcpu_quota"], constants.VIR_TYPED_PARAM_LLONG)
        self.assertEqual(types["weight"], constants.VIR_TYPED_PARAM_UINT)
        self.assertEqual(types["total_bytes_sec"], constants.VIR_TYPED_PARAM_ULLONG)
        self.assertEqual(types["cache_misses"], constants.VIR_TYPED_PARAM_BOOLEAN)
        self.assertEqual(types["destination_name"], constants.VIR_TYPED_PARAM_STRING)

    def test_suffixes_stand_apart(self) -> None:
        self.assertEqual(params.TYPED_PARAM_SUFFIX_TYPES[".rd.bytes"], constants.VIR_TYPED_PARAM_ULLONG)
        self.assertEqual(params.TYPED_PARAM_SUFFIX_TYPES[".prefix"], constants.VIR_TYPED_PARAM_UINT)
        suffixes = [name for name in params.TYPED_PARAM_SUFFIX_TYPES if not name.startswith(".")]
        self.assertEqual(suffixes, ["bin.count"])  # follows ".latency_histogram.read."
        self.assertFalse(any(name.startswith(".") for name in params.TYPED_PARAM_TYPES))

    def test_no_name_is_unfinished(self) -> None:
        names = [*params.TYPED_PARAM_TYPES, *params.TYPED_PARAM_SUFFIX_TYPES]
        self.assertEqual([name for name in names if name.endswith(".")], [])

    def test_values_are_types(self) -> None:
        valid = {member.value for member in enums.TypedParameterType}
        self.assertLessEqual(set(params.TYPED_PARAM_TYPES.values()), valid)
        self.assertLessEqual(set(params.TYPED_PARAM_SUFFIX_TYPES.values()), valid)


class AccessTests(TestCase):
    """Objects and permissions."""

    def test_spot_checks(self) -> None:
        self.assertIn("read_secure", access.ACCESS_PERMISSIONS["domain"])
        self.assertEqual(
            access.ACCESS_PERMISSIONS["nwfilter_binding"], ("getattr", "read", "create", "delete")
        )
        for name, permissions in access.ACCESS_PERMISSIONS.items():
            self.assertEqual(permissions[0], "getattr", name)
            self.assertEqual(len(set(permissions)), len(permissions), name)
