"""What the printer writes is readable, and the parser reads it back as the same model."""

from __future__ import annotations

from hypothesis import given, settings
from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.contracts import CONTRACTS, load_contract
from remotevirt.rpcgen.model import Contract
from remotevirt.rpcgen.printer import print_contract
from tests.rpcgen.texts import contracts, load, unordered

TEXT = """\
/* A heading. */

%#include "types.h"

/** A constant. */
const A = 0x10;
const B = 4;

enum colour {
    RED   = 1,
    GREEN = 2
};

/**
 * Two lines
 * of comment.
 */
struct pair {
    colour first;
    string names<A>;
    opaque id[B];
    pair *next;
    int numbers<>;
};

union choice switch (colour kind) {
    case RED:
    case 2:
        unsigned int x;
    default:
        void;
};

typedef pair pairs<2>;

program T_PROGRAM {
    version T_PROTOCOL_VERSION {
        /**
         * Gets it.
         *
         * @acl: domain:read
         * @acl: domain:save:!X|Y
         * @acl: domain:write::source:Z
         * @aclfilter: domain:getattr
         * @priority: high
         * @readstream: 1
         * @api: virGet
         * @since: 0.1.0
         */
        pair T_PROC_GET(choice) = 1;

        /**
         * @event
         * @acl: none
         */
        void T_PROC_HAPPENED(pair) = 2;
    } = 1;
} = 0x20000001;
"""


class PrintTests(TestCase):
    """The form of the text."""

    def test_form(self) -> None:
        """Everything there is, as it should look."""
        printed = print_contract(load(TEXT), "A heading.", ["types.x"])
        self.assertEqual(printed, TEXT)

    def test_long_procedure(self) -> None:
        """A procedure that is too long for a line takes two."""
        name = "T_PROC_" + "X" * 40
        text = f"struct {'y' * 60} {{ int x; }};"
        text += f"program P {{ version V {{ {'y' * 60} {name}(void) = 1; }} = 1; }} = 1;"
        self.assertIn(f"        {'y' * 60}\n            {name}(void) = 1;", print_contract(load(text)))


class RoundTripTests(TestCase):
    """Model to text to model."""

    def check(self, contract: Contract) -> None:
        again = load(print_contract(contract))
        self.assertEqual(unordered(again), unordered(contract))

    def test_our_contracts(self) -> None:
        """Every contract of ours, comments included."""
        for name in CONTRACTS:
            self.check(load_contract(name))

    @settings(deadline=None, max_examples=150)
    @given(contracts())
    def test_any_contract(self, contract: Contract) -> None:
        """Contracts that nobody has written."""
        self.check(contract)
