"""Whatever text comes in: a contract comes out, or an RpcgenError."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.model import Contract
from remotevirt.rpcgen.printer import print_contract
from tests.rpcgen.test_dialect import TEXT as DIALECT
from tests.rpcgen.test_parser import ProgramTests
from tests.rpcgen.test_printer import TEXT as OURS
from tests.rpcgen.texts import load, unordered

WORDS = [
    *("const", "typedef", "enum", "struct", "union", "switch", "case", "default", "program", "version"),
    *("void", "int", "unsigned", "hyper", "string", "opaque", "char", "float", "bool", "quadruple"),
    *("a", "b", "A", "B", "T_PROC_A", "t_procedure", "T_PROGRAM", "T_PROTOCOL_VERSION"),
    *("0", "1", "7", "-1", "0x1F", "4294967296", "/**@acl:none*/", "/**@event*/", "/*x*/"),
    *"{}()[]<>;,:=*",
]


def outcome(text: str) -> Contract | None:
    """The contract, or None if there is an error with a message of one line and a place."""
    try:
        return load(text)
    except RpcgenError as error:
        assert error.location is not None
        assert "\n" not in str(error)
        assert error.location.line >= 1 and error.location.column >= 1
        return None


class GarbageTests(TestCase):
    """Texts that nobody has written."""

    def check(self, text: str) -> None:
        contract = outcome(text)
        if contract is not None:
            again = load(print_contract(contract))
            self.assertEqual(unordered(again), unordered(contract))

    @settings(deadline=None, max_examples=300)
    @given(st.text())
    @example("/*/")
    @example("%")
    @example("\x00")
    @example("-")
    @example("0x")
    def test_text(self, text: str) -> None:
        """Any characters."""
        self.check(text)

    @settings(deadline=None, max_examples=500)
    @given(st.lists(st.sampled_from(WORDS), max_size=40))
    def test_words(self, words: list[str]) -> None:
        """Words of the language in any order."""
        self.check(" ".join(words))

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from([OURS, DIALECT, ProgramTests.text]), st.data())
    def test_mutilated(self, text: str, data: st.DataObject) -> None:
        """Good texts, from which something is missing and in which something else stands."""
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        self.check(text[:start] + data.draw(st.sampled_from([*WORDS, "", "\n", " "])) + text[end:])
