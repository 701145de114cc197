"""libvirt's dialect: procedures in an enum, types by their names."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.dialect import is_dialect, public_constants
from remotevirt.rpcgen.model import Constant, Enum, Permission
from remotevirt.rpcgen.parser import parse
from tests.rpcgen.texts import failure, load

TEXT = """
%#include "internal.h"
const TOY_STRING_MAX = 65536;
typedef string toy_nonnull_string<TOY_STRING_MAX>;
typedef opaque toy_uuid[VIR_UUID_BUFLEN];

struct toy_open_args { toy_nonnull_string name; };
struct toy_list_ret { /* insert@1 */ toy_nonnull_string names<TOY_STRING_MAX>; };
struct toy_swap_args { toy_uuid one; };
struct toy_swap_ret { toy_uuid other; };
struct toy_domain_event_broken_msg { int how; };

/* Define the program number, protocol version and procedure numbers here. */
const TOY_PROGRAM = 0x20001234;
const TOY_PROTOCOL_VERSION = 1;

enum toy_procedure {
    /* Each function must be preceded by a comment:
     * - @generate: none|client|server|both
     */

    /**
     * @generate: none
     * @priority: high
     * @acl: connect:getattr
     */
    TOY_PROC_OPEN = 1,

    /**
     * @generate: both
     * @readstream: 1
     * @sparseflag: TOY_SPARSE
     * @acl: connect:search
     * @aclfilter: toy:getattr
     */
    TOY_PROC_LIST = 2,

    /**
     * @acl: toy:write
     */
    TOY_PROC_SWAP = 4,

    /**
     * @acl: none
     */
    TOY_PROC_CLOSE = 3,

    /**
     * @generate: both
     * @acl: none
     */
    TOY_PROC_DOMAIN_EVENT_BROKEN = 5
};
"""


class DialectTests(TestCase):
    """What follows from names and comments."""

    def test_recognised(self) -> None:
        """By the enum; a contract with program blocks, or without procedures, is something else."""
        self.assertTrue(is_dialect(parse(TEXT, "a.x")))
        self.assertFalse(is_dialect(parse("enum toy_procedure { A = 1 };", "a.x")))
        self.assertFalse(is_dialect(parse("const A_PROGRAM = 1; const B_PROC_X = 2;", "a.x")))

    def test_program(self) -> None:
        """The program's name, number and version."""
        (program,) = load(TEXT).programs
        self.assertEqual((program.name, program.constant, program.number), ("toy", "TOY_PROGRAM", 0x20001234))
        self.assertEqual((program.version_constant, program.version), ("TOY_PROTOCOL_VERSION", 1))

    def test_procedures(self) -> None:
        """Arguments and results by their names, ordered by number."""
        (program,) = load(TEXT).programs
        found = [(each.number, each.name, each.args, each.ret, each.event) for each in program.procedures]
        expected = [
            (1, "open", "toy_open_args", None, False),
            (2, "list", None, "toy_list_ret", False),
            (3, "close", None, None, False),
            (4, "swap", "toy_swap_args", "toy_swap_ret", False),
            (5, "domain_event_broken", "toy_domain_event_broken_msg", None, True),
        ]
        self.assertEqual(found, expected)

    def test_annotations(self) -> None:
        """Those of the comment above each member."""
        first, second, *_ = load(TEXT).programs[0].procedures
        self.assertEqual((first.priority, first.acl), ("high", (Permission("connect", "getattr"),)))
        self.assertEqual((second.priority, second.readstream, second.sparseflag), ("low", 1, "TOY_SPARSE"))
        self.assertEqual(second.aclfilter, (Permission("toy", "getattr"),))
        self.assertEqual(second.comment, "")

    def test_definitions(self) -> None:
        """The enum has become the program; known public constants are supplied."""
        contract = load(TEXT)
        self.assertFalse(any(isinstance(each, Enum) for each in contract.definitions))
        self.assertEqual(contract["VIR_UUID_BUFLEN"], Constant("VIR_UUID_BUFLEN", 16))

    def test_public_constants(self) -> None:
        """Those of every header, those that are given by another name too."""
        constants = public_constants()
        self.assertEqual((constants["VIR_UUID_BUFLEN"], constants["VIR_TYPED_PARAM_STRING"]), (16, 7))
        self.assertEqual(constants["VIR_DOMAIN_SCHED_FIELD_ULLONG"], 4)
        self.assertEqual(constants["VIR_SECURITY_LABEL_BUFLEN"], 4097)

    def test_camel_case(self) -> None:
        """Programs that write their structs in camel case, with words joined as they please."""
        contract = load(
            "struct virToyProtocolNewThingArgs { int x; }; struct virToyProtocolDoneMsg { int x; };"
            "const VIR_TOY_PROTOCOL_PROGRAM = 7; const VIR_TOY_PROTOCOL_PROGRAM_VERSION = 2;"
            "enum virToyProtocolProcedure {"
            "    VIR_TOY_PROTOCOL_PROC_NEWTHING = 1, VIR_TOY_PROTOCOL_PROC_DONE = 2 };"
        )
        (program,) = contract.programs
        self.assertEqual((program.name, program.version), ("vir_toy_protocol", 2))
        found = [(each.name, each.args, each.event) for each in program.procedures]
        expected = [
            ("newthing", "virToyProtocolNewThingArgs", False),
            ("done", "virToyProtocolDoneMsg", True),
        ]
        self.assertEqual(found, expected)

    def test_old_releases(self) -> None:
        """What stands in the comment behind a member, where there is none above it."""
        contract = load(
            "const TOY_PROGRAM = 7; const TOY_PROTOCOL_VERSION = 1; enum toy_procedure {\n"
            "TOY_PROC_A = 1, /* skipgen skipgen priority:high */\n"
            "TOY_PROC_B = 2, /* autogen autogen | readstream@2 */\n"
            "TOY_PROC_C = 3 /* autogen autogen priority:low writestream@1 */\n};"
        )
        found = [
            (each.priority, each.readstream, each.writestream) for each in contract.programs[0].procedures
        ]
        self.assertEqual(found, [("high", 0, 0), ("low", 2, 0), ("low", 0, 1)])

    def test_errors(self) -> None:
        """What is missing or odd is told where the enum or the member stands."""
        number = "const TOY_PROGRAM = 7; "
        version = "const TOY_PROTOCOL_VERSION = 1; "
        for text, expected in {
            "enum toy_procedure { TOY_PROC_A = 1 };": (
                "1:6: toy_procedure lists procedures, but there is no TOY_PROGRAM"
            ),
            number + "enum toy_procedure { TOY_PROC_A = 1 };": (
                "1:29: toy_procedure lists procedures, but there is no "
                "TOY_PROTOCOL_VERSION or TOY_PROGRAM_VERSION"
            ),
            number
            + version
            + "enum toy_procedure { TOY_PROC_A };": "1:77: procedure TOY_PROC_A has no number",
            number + version + "enum toy_procedure { TOY_PROC_A = 1, PLAY_PROC_B = 2 };": (
                "1:93: PLAY_PROC_B does not open with TOY_PROC_"
            ),
            number + version + "enum toy_procedure {\n/** @acl: x */ TOY_PROC_A = 1 };": (
                "2:5: '@acl: x': expected object:permission, "
                "object:permission:FLAGS or object:permission::argument:VALUE"
            ),
            number + version + "enum toy_procedure { TOY_PROC_A = 1, TOY_PROC_B = 1 };": (
                "1:93: procedure number 1 is taken already, at a.x:1:77"
            ),
        }.items():
            self.assertEqual(failure(text), expected, text)
