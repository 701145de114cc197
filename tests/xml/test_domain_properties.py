"""Whatever a stranger sends: a guest or a VirError, never anything else, and never at a price.

The documents are made of the words that the models know, put together at random and wrongly.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from remotevirt.errors import VirError
from remotevirt.xml.domain import DomainDefaults, DomainModel, format_domain, parse_domain

DATA = Path(__file__).parent / "data"
DEFAULTS = DomainDefaults()


def _vocabulary() -> tuple[list[str], list[str], list[str]]:
    tags: set[str] = set()
    names: set[str] = set()
    values = {
        "",
        "0",
        "1",
        "-1",
        "x",
        "yes",
        "no",
        "on",
        "off",
        "4294967296",
        "0x1f",
        "1-3,^2",
        "é",
        " 5 ",
        "auto",
    }
    for path in DATA.glob("*.xml"):
        for element in etree.fromstring(path.read_bytes()).iter(etree.Element):
            if element.tag.startswith("{"):
                continue
            tags.add(element.tag)
            names.update(name for name in element.attrib if not name.startswith("{"))
            values.update(element.attrib.values())
            values.add((element.text or "").strip())
    return sorted(tags), sorted(names), sorted(values)


TAGS, NAMES, VALUES = _vocabulary()


def _element(children: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[Any]:
    def make(tag: str, attributes: dict[str, str], text: str, inner: list[Any]) -> Any:
        element = etree.Element(tag, attributes)
        element.text = text
        element.extend(inner)
        return element

    return st.builds(
        make,
        st.sampled_from(TAGS),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=5),
        st.sampled_from(VALUES),
        children,
    )


TREES = st.recursive(
    _element(st.just([])), lambda inner: _element(st.lists(inner, max_size=4)), max_leaves=20
)


class AnyDocument(SynchronousTestCase):
    """Documents nobody meant."""

    def survives(self, document: str) -> DomainModel | None:
        """Read, print and copy a document; a VirError is an answer, anything else is not."""
        try:
            model = parse_domain(document, defaults=DEFAULTS)
        except VirError as error:
            self.assertTrue(error.message)
            return None
        printed = format_domain(model.copy(), id=1, flags=1)
        etree.fromstring(printed.encode())
        return model

    @given(st.text(max_size=200))
    @settings(max_examples=100, deadline=None)
    def test_text(self, text: str) -> None:
        """Any text at all."""
        self.survives(text)

    @given(st.lists(TREES, max_size=6), st.lists(TREES, max_size=6))
    @settings(max_examples=300, deadline=None)
    def test_random_trees(self, general: list[Any], devices: list[Any]) -> None:
        """Known words in unknown order."""
        root = etree.fromstring(
            "<domain type='test'><name>x</name><memory>1</memory><os><type>hvm</type></os></domain>"
        )
        root.extend(general)
        root.append(etree.Element("devices"))
        root[-1].extend(devices)
        self.survives(etree.tostring(root, encoding="unicode"))

    @given(st.integers(min_value=0, max_value=2**32))
    @settings(max_examples=200, deadline=None)
    def test_damaged_documents(self, seed: int) -> None:
        """Real documents with some of their parts changed, moved or gone."""
        chance = random.Random(seed)
        paths = sorted(path for path in DATA.glob("*.xml") if not path.name.endswith(".expected.xml"))
        root = etree.fromstring(chance.choice(paths).read_bytes())
        for _ in range(chance.randint(1, 4)):
            element = chance.choice(list(root.iter(etree.Element)))
            damage = chance.randrange(4)
            if damage == 0 and element.getparent() is not None:
                element.getparent().remove(element)
            elif damage == 1 and element.attrib:
                element.set(chance.choice(sorted(element.attrib)), chance.choice(VALUES))
            elif damage == 2 and element.attrib:
                del element.attrib[chance.choice(sorted(element.attrib))]
            else:
                element.text = chance.choice(VALUES)
        self.survives(etree.tostring(root, encoding="unicode"))
