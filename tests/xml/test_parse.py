"""Safe parsing: what is refused, what it costs, and where errors point to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_NETWORK, VIR_FROM_XML
from remotevirt.stubs.errors import XmlDetail, XmlError
from remotevirt.xml import parse
from remotevirt.xml.parse import child_elements, local_name, parse_document, parse_fragment, text_of

SOURCE = "(domain_definition)"


class Refusals(SynchronousTestCase):
    """Documents that could cost more than they should, or reach out."""

    def refused(self, text: str, words: str) -> VirError:
        """Assert that a document is refused, with some words."""
        error: VirError = self.assertRaises(XmlError, parse_fragment, text, source=SOURCE)
        self.assertIn(words, error.message)
        self.assertEqual(error.domain, VIR_FROM_XML)
        return error

    def test_document_type(self) -> None:
        """No document type declaration is read, wherever a prolog may have one."""
        for prolog in (
            "",
            "<?xml version='1.0'?>",
            "<!-- x -->\n",
            " \n<?pi x?><!-- <!DOCTYPE --> ",
            "\ufeff",
        ):
            self.refused(f"{prolog}<!DOCTYPE a [<!ENTITY n 'x'>]><a>&n;</a>", "document type")
            self.refused(f"{prolog}<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "document type")

    def test_document_type_in_content(self) -> None:
        """The word alone does no harm."""
        element = parse_fragment("<a><!-- <!DOCTYPE x> --><![CDATA[<!DOCTYPE x>]]></a>", source=SOURCE)
        self.assertEqual(text_of(element), "<!DOCTYPE x>")

    def test_laughs(self) -> None:
        """Entities that grow are not even defined."""
        entities = "".join(f"<!ENTITY e{n + 1} '&e{n};&e{n};'>" for n in range(64))
        self.refused(f"<!DOCTYPE a [<!ENTITY e0 'ha'>{entities}]><a>&e64;</a>", "document type")

    def test_size(self) -> None:
        """No longer than a string of the wire may be."""
        self.refused("<a>" + "x" * parse.MAX_BYTES + "</a>", "longer than")
        parse_fragment("<a>" + "x" * (parse.MAX_BYTES // 2) + "</a>", source=SOURCE)

    def test_elements_and_attributes(self) -> None:
        """There is a bound on both."""
        parse_fragment("<a>" + "<b></b>" * (parse.MAX_ELEMENTS - 1) + "</a>", source=SOURCE)
        self.refused("<a>" + "<b></b>" * parse.MAX_ELEMENTS + "</a>", "elements")
        self.refused("<a>" + "<b/>" * parse.MAX_ELEMENTS + "</a>", "elements")
        self.refused("<a>" + "<!-- -->" * parse.MAX_ELEMENTS + "</a>", "elements")
        attributes = " ".join(f"a{n}=''" for n in range(parse.MAX_ATTRIBUTES + 1))
        self.refused(f"<a {attributes}/>", "attributes")

    def test_depth(self) -> None:
        """libxml2's own bound on the depth holds."""
        parse_fragment("<a>" * 255 + "</a>" * 255, source=SOURCE)
        error = self.assertRaises(XmlDetail, parse_fragment, "<a>" * 300, source=SOURCE)
        self.assertIn("Excessive depth in document: 256 use XML_PARSE_HUGE option", error.message)

    def test_bad_utf8(self) -> None:
        """Bytes that are no UTF-8 are pointed at, whatever encoding is declared."""
        for declared in ("", "<?xml version='1.0' encoding='ISO-8859-1'?>"):
            text = f"{declared}<a>caf\udce9</a>"
            error = self.assertRaises(XmlDetail, parse_fragment, text, source=SOURCE)
            pointer = "-" * (len(declared) + 6) + "^"
            self.assertEqual(
                error.message,
                f"{SOURCE}:1: Input is not proper UTF-8, indicate encoding !\n"
                f"Bytes: 0xE9 0x3C 0x2F 0x61\n{text}\n{pointer}",
            )

    def test_ends_at_nul(self) -> None:
        """As a C string does."""
        self.assertEqual(parse_fragment("<a/>\0<b", source=SOURCE).tag, "a")


class PrivateTests(SynchronousTestCase):
    """Errors about documents that others must not see."""

    def refusal(self, text: str, source: str = SOURCE) -> str:
        """The message of the error that a document ends in."""
        error: XmlDetail = self.assertRaises(XmlDetail, parse_fragment, text, source=source)
        return error.message

    def test_passwords(self) -> None:
        """Of a document that may hold a password only line and column of the error are told."""
        for text in ("<a passwd='hidden'><b></a>", "<a><Secret>hidden</b></a>", "<a><!-- session --><b></a>"):
            error = self.refusal(text)
            self.assertNotIn("hidden", error)
            self.assertRegex(error, r"^\(domain_definition\):1: Opening and ending .* \(column \d+\)$")
        self.assertIn("shown", self.refusal("<a word='shown'><b></a>"))

    def test_bytes(self) -> None:
        """Nor are the bytes that are no UTF-8."""
        self.assertEqual(
            self.refusal("<a passwd='\udce9hidden'/>"),
            f"{SOURCE}:1: Input is not proper UTF-8, indicate encoding ! (column 12)",
        )

    def test_files(self) -> None:
        """Nothing is shown of a file: whoever named it has not written it."""
        error = self.refusal("root:x:0:0", source="/srv/node.xml")
        self.assertEqual(error, "/srv/node.xml:1: Start tag expected, '<' not found (column 1)")

    def test_long_lines(self) -> None:
        """An error about a line of megabytes is not made of megabytes."""
        self.assertLess(len(self.refusal("<a>" + "x" * 1_000_000 + "<b></a>")), 3 * parse.SHOWN_MAXIMUM)


class Errors(SynchronousTestCase):
    """The words for what is wrong."""

    def test_where(self) -> None:
        """The line at fault, and a pointer that counts bytes."""
        error = self.assertRaises(
            XmlDetail, parse_document, "<a>\n é<b></c></a>", root="a", source="(x)", domain=VIR_FROM_NETWORK
        )
        self.assertEqual(
            error.message,
            "(x):2: Opening and ending tag mismatch: b line 2 and c\n é<b></c></a>\n----------^",
        )
        self.assertEqual((error.code, error.domain), (35, VIR_FROM_NETWORK))

    def test_root(self) -> None:
        """Another root is named with what was expected."""
        error = self.assertRaises(XmlError, parse_document, "<b/>", root="a", source="(x)")
        self.assertEqual(error.message, "XML error: expecting root element of 'a', not 'b'")
        self.assertEqual(error.domain, VIR_FROM_XML)

    def test_empty_line(self) -> None:
        """Where the line is empty libvirt says so in its way."""
        error = self.assertRaises(XmlDetail, parse_fragment, "", source="(x)")
        self.assertEqual(error.message, "(x):1: Document is empty\n(null)\n^")
        self.assertEqual(error.domain, VIR_FROM_DOMAIN)


class Helpers(SynchronousTestCase):
    """Looking into elements."""

    def test_children_and_text(self) -> None:
        """Comments are no children and no text; those of other namespaces have other names."""
        element = parse_fragment(
            "<a><!-- c --><b>x<!-- y -->z<c>!</c></b><b/><n:b xmlns:n='urn:n'/></a>", source=SOURCE
        )
        children = child_elements(element)
        self.assertEqual({tag: len(found) for tag, found in children.items()}, {"b": 2, "{urn:n}b": 1})
        self.assertEqual(text_of(children["b"][0]), "xz!")
        self.assertEqual(local_name(children["{urn:n}b"][0]), "b")
