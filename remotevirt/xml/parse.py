"""Reading XML that strangers wrote, safely, and complaining about it in libvirt's words.

lxml sits on libxml2, the parser that libvirt itself uses, so the texts and positions of syntax errors are the
ones users know::

    (domain_definition):1: Opening and ending tag mismatch: b line 1 and a
    <a><b></a>
    ----------^

The message is followed by the line at fault and a pointer below it; the pointer counts bytes. The texts are
those of libxml2 2.9, which libvirt 9.0.0 is built with on most systems; the few that newer releases word
differently are put back. Whoever sees the error has not always seen the document: programs write errors into
logs. So nothing is shown of a document that may hold a password, nor of a file: only line and column are.

What a document may cost is bounded before libxml2 sees it: its size, the number of tags and of attributes.
libxml2 bounds the depth (256). A document type declaration is refused before it is parsed, so no entity but
the five of XML itself exists, and nothing is ever fetched. Everything that is wrong with a document becomes
a :class:`~remotevirt.errors.VirError`.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Final, TypeAlias

from lxml import etree

from remotevirt.errors import VirError
from remotevirt.stubs.constants import VIR_FROM_DOMAIN, VIR_FROM_XML
from remotevirt.stubs.errors import XmlDetail, XmlError

__all__ = [
    "MAX_ATTRIBUTES",
    "MAX_BYTES",
    "MAX_ELEMENTS",
    "Element",
    "child_elements",
    "parse_document",
    "text_of",
]

Element: TypeAlias = Any
"""An lxml element; lxml has no types of its own."""

MAX_BYTES: Final = 4 * 1024 * 1024
"""The longest document: libvirt's own bound on a string of the wire (VIR_NET_MESSAGE_STRING_MAX)."""

MAX_ELEMENTS: Final = 30_000
"""The most tags that start in one document (and comments, and the like); a guest with hundreds of devices has
a few thousand. Reading the costliest kind of element takes some 0.05 ms."""

MAX_ATTRIBUTES: Final = 200_000
"""The most equals signs in one document, hence attributes."""

DECLARATION_MAXIMUM: Final = 512
"""Bytes in which a declaration must name its encoding to be believed."""

SHOWN_MAXIMUM: Final = 4096
"""The most bytes of a line that an error is made with; it is cut to 1 KiB when it is sent."""

_FATAL = 3
_SECRETS = (b"passw", b"passphrase", b"secret", b"cookie", b"dhcert", b"session", b"ticket", b"token")
"""Words of documents that may hold what nobody else should see."""

_PROLOG = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_REWORDED = (
    (re.compile(r"^Unsupported encoding: "), "Unsupported encoding "),
    (re.compile(r"^(Excessive depth in document: \d+), use"), r"\1 use"),
)


def parse_document(text: str, *, root: str, source: str, domain: int = VIR_FROM_DOMAIN) -> Element:
    """Parse a document and check the name of its root.

    Args:
        text: the document; bytes that are not UTF-8 are expected as surrogate escapes.
        root: the name the root element must have.
        source: what libvirt calls the text in errors, such as ``(domain_definition)``.
        domain: virErrorDomain of syntax errors.

    Raises:
        VirError: XmlDetail for syntax errors, XmlError for another root or a document that costs too much.
    """
    element = parse_fragment(text, source=source, domain=domain)
    name = local_name(element)
    if name != root:
        raise XmlError(f"expecting root element of '{root}', not '{name}'", domain=VIR_FROM_XML)
    return element


def parse_fragment(text: str, *, source: str, domain: int = VIR_FROM_DOMAIN) -> Element:
    """Parse a document with whatever root; see :func:`parse_document`."""
    data = text.encode("utf-8", "surrogateescape")
    # libvirt hands C strings around: a document ends at its first NUL.
    data = data.partition(b"\0")[0]
    _check_cost(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(data, error.start, source, domain) from None
    _check_encoding(data, source, domain)
    parser = _parser(recover=False)
    try:
        element = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        log = parser.error_log or error.error_log
        fatal = next((entry for entry in log if entry.level >= _FATAL), None)
        if fatal is not None:
            raise _syntax_error(data, fatal, source, domain) from None
        # A prefix without a namespace troubles lxml, and libvirt not.
        element = etree.fromstring(data, _parser(recover=True))
    except (ValueError, LookupError) as error:
        raise XmlError(str(error), domain=VIR_FROM_XML) from None
    if element is None:
        raise _detail(data, source, 1, "Document is empty", b"", 0, domain)
    return element


def local_name(element: Element) -> str:
    """The element's name without its namespace."""
    tag: str = element.tag
    return tag.rpartition("}")[2] if tag.startswith("{") else tag


def child_elements(element: Element) -> dict[str, list[Element]]:
    """The children of an element by tag, in document order; comments and the like are left out."""
    children: dict[str, list[Element]] = {}
    for child in element:
        tag = child.tag
        if isinstance(tag, str):
            children.setdefault(tag, []).append(child)
    return children


def text_of(element: Element) -> str:
    """All text inside an element, that of its descendants included (XPath's ``string()``)."""
    if len(element) == 0:
        return element.text or ""
    return str(element.xpath("string()"))


def _check_cost(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise XmlError(f"document of {len(data)} bytes is longer than {MAX_BYTES}", domain=VIR_FROM_XML)
    if data.count(b"<") - data.count(b"</") > MAX_ELEMENTS:
        raise XmlError(f"document has more than {MAX_ELEMENTS} elements", domain=VIR_FROM_XML)
    if data.count(b"=") > MAX_ATTRIBUTES:
        raise XmlError(f"document has more than {MAX_ATTRIBUTES} attributes", domain=VIR_FROM_XML)
    position = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    while match := _PROLOG.match(data, position):
        position = match.end()
    if data.startswith(b"<!DOCTYPE", position):
        raise XmlError("document type declarations are not accepted", domain=VIR_FROM_XML)


_DECLARED = re.compile(rb"""<\?xml\s[^>]*?\bencoding\s*=\s*(["'])([A-Za-z0-9._-]{1,64})\1""")


def _check_encoding(data: bytes, source: str, domain: int) -> None:
    """Refuse an encoding that does not exist; of others the name means nothing, since all is UTF-8 here."""
    match = _DECLARED.match(data, 0, DECLARATION_MAXIMUM)
    if match is None:
        return
    name = match[2].decode()
    try:
        codecs.lookup(name)
    except LookupError:
        line = data[: match.end()].count(b"\n")
        start = data.rfind(b"\n", 0, match.end()) + 1
        text = data.split(b"\n", line + 1)[line]
        column = match.end() - start
        message = f"Unsupported encoding {name}"
        raise _detail(data, source, line + 1, message, text, column, domain) from None


def _parser(*, recover: bool) -> Any:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_blank_text=True,
        strip_cdata=False,
        recover=recover,
    )


def _syntax_error(data: bytes, entry: Any, source: str, domain: int) -> VirError:
    message: str = entry.message
    for pattern, words in _REWORDED:
        message = pattern.sub(words, message)
    lines = data.split(b"\n")
    line = min(max(entry.line, 1), len(lines))
    # libxml2 counts characters, the pointer bytes.
    before = lines[line - 1].decode("utf-8", "surrogateescape")[: max(entry.column - 1, 0)]
    column = len(before.encode("utf-8", "surrogateescape"))
    if message.startswith("Excessive depth"):
        column += 1  # libxml2 2.9 has read one more character by then
    return _detail(data, source, entry.line, message, lines[line - 1], column, domain)


def _not_utf8(data: bytes, position: int, source: str, domain: int) -> VirError:
    start = data.rfind(b"\n", 0, position) + 1
    end = data.find(b"\n", position)
    # The C string's final NUL counts as a byte, and nothing is read beyond it.
    shown = " ".join(f"0x{byte:02X}" for byte in (data[position : position + 4] + bytes(4))[:4])
    message = "Input is not proper UTF-8, indicate encoding !"
    if not _is_private(data, source):
        message += f"\nBytes: {shown}"
    line = data[start : end if end >= 0 else len(data)]
    return _detail(data, source, data.count(b"\n", 0, position) + 1, message, line, position - start, domain)


def _is_private(data: bytes, source: str) -> bool:
    """Whether nothing of a document is shown: it comes from a file, or may hold a password."""
    lower = data.lower()
    return source.startswith("/") or any(word in lower for word in _SECRETS)


def _detail(
    data: bytes, source: str, number: int, message: str, line: bytes, column: int, domain: int
) -> VirError:
    if _is_private(data, source):
        return XmlDetail(f"{source}:{number}: {message} (column {column + 1})", domain=domain)
    shown = line[:SHOWN_MAXIMUM].rstrip(b"\r").decode("utf-8", "surrogateescape") or "(null)"
    return XmlDetail(
        f"{source}:{number}: {message}\n{shown}\n{'-' * min(column, SHOWN_MAXIMUM)}^", domain=domain
    )
