"""Canonical output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.xml.parse import parse_fragment
from remotevirt.xml.write import Tag, Verbatim, escape, leaf, render


class Writing(SynchronousTestCase):
    """The forms of elements."""

    def test_forms(self) -> None:
        """Empty, with text, with children, and held open."""
        tag = Tag("a").set("x", 1).set("none", None)
        tag.add(Tag("empty"))
        tag.add(leaf("text", "it's <\"&>"))
        tag.add(Tag("open", hold=True))
        tag.add(Verbatim("  <as>\n  is</as>\n"))
        self.assertEqual(
            render(tag),
            "<a x='1'>\n  <empty/>\n  <text>it&apos;s &lt;&quot;&amp;&gt;</text>\n  <open>\n  </open>\n"
            "  <as>\n  is</as>\n</a>\n",
        )

    def test_bare(self) -> None:
        """A tag is bare until something is in it; an empty text is something."""
        self.assertTrue(Tag("a").is_bare())
        self.assertFalse(leaf("a", "").is_bare())
        self.assertFalse(Tag("a").set("b", "").is_bare())

    def test_controls_are_dropped(self) -> None:
        """What XML cannot carry is left out; blanks of all kinds stay."""
        self.assertEqual(escape("a\x01\x08\x0b\x1fb\t\n\r"), "ab\t\n\r")

    @given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00\r\ufffe\uffff")))
    def test_text_comes_back(self, text: str) -> None:
        """Text is read back as it was, but for what was dropped."""
        tag = leaf("a", text)
        tag.set("b", text)
        kept = "".join(letter for letter in text if letter >= " " or letter in "\t\n")
        element = parse_fragment(render(tag), source="(x)")
        self.assertEqual(element.text or "", kept)
        # An XML parser reads line ends and tabs in attributes as blanks.
        self.assertEqual(element.get("b"), kept.replace("\n", " ").replace("\t", " "))
