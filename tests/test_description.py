"""The grammar of endpoint and driver descriptions, beside Twisted's own parser."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import endpoints
from twisted.trial.unittest import TestCase

from remotevirt.description import Description, DescriptionError, number, quote

fields = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
words = st.lists(fields, max_size=4)
options = st.dictionaries(fields, fields, max_size=4)


class ParseTests(TestCase):
    """Texts that are descriptions, and texts that are not."""

    def test_words_and_options(self) -> None:
        found = Description.parse("test:keep:files=/srv/nodes")
        self.assertEqual("test", found.name)
        self.assertEqual(("keep",), found.words)
        self.assertEqual({"files": "/srv/nodes"}, found.options)

    def test_second_equals_sign_belongs_to_the_value(self) -> None:
        self.assertEqual({"a": "b=c"}, Description.parse("x:a=b=c").options)

    def test_backslash_quotes(self) -> None:
        found = Description.parse(r"tcp:1:interface=\:\:1:p\=q:z=\\")
        self.assertEqual({"interface": "::1", "z": "\\"}, found.options)
        self.assertEqual(("1", "p=q"), found.words)

    def test_refused(self) -> None:
        for text, why in {
            "": "a name must come first",
            ":x": "a name must come first",
            "a=b": "a name must come first",
            "x:a=1:a=2": "a= is given twice",
            "x:\\": "ends in a backslash",
        }.items():
            error = self.assertRaises(DescriptionError, Description.parse, text)
            self.assertIn(why, str(error))
            self.assertIn(repr(text), str(error))

    @given(name=fields.filter(bool), words=words, options=options)
    def test_quoted_fields_come_back(self, name: str, words: list[str], options: dict[str, str]) -> None:
        parts = [quote(name), *map(quote, words), *(f"{quote(k)}={quote(v)}" for k, v in options.items())]
        found = Description.parse(":".join(parts))
        self.assertEqual((name, *words), (found.name, *found.words))
        self.assertEqual(options, found.options)

    @given(text=st.text("ab:=\\", max_size=12))
    def test_agrees_with_twisted(self, text: str) -> None:
        """What we accept means the same to Twisted, to whom the text is passed on."""
        try:
            found = Description.parse(text)
        except DescriptionError:
            return
        args, options = endpoints._parse(text)
        self.assertEqual([found.name, *found.words], args)
        self.assertEqual(found.options, options)


class NumberTests(TestCase):
    """Numbers within descriptions."""

    def test_in_range(self) -> None:
        self.assertEqual([0, 65535], [number("port", text, 65535) for text in ("0", "65535")])

    def test_refused(self) -> None:
        for text in ("", "-1", "65536", "1e3", "0x10", "٣", " 1", "²"):
            error = self.assertRaises(DescriptionError, number, "port", text, 65535)
            self.assertIn(f"port: a number from 0 to 65535 is wanted, not {text!r}", str(error))
