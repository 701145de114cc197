"""Properties of the documents of networks, pools, volumes, interfaces and devices."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from remotevirt.errors import VirError
from remotevirt.xml.interface import format_interface, parse_interface
from remotevirt.xml.network import format_network, parse_network, update_network
from remotevirt.xml.node_device import format_device, parse_device
from remotevirt.xml.storage_pool import format_pool, parse_pool
from remotevirt.xml.storage_volume import format_volume, parse_volume
from tests.drivers.record_documents import DOCUMENTS

WAYS: dict[str, Callable[[str], str]] = {
    "network": lambda text: format_network(parse_network(text)),
    "pool": lambda text: format_pool(parse_pool(text)),
    "volume": lambda text: format_volume(parse_volume(text, "dir")),
    "interface": lambda text: format_interface(parse_interface(text)),
    "device": lambda text: format_device(parse_device(text, new=True)),
}
TEXTS = {kind: [text for text, _ in pairs] for kind, pairs in json.loads(DOCUMENTS.read_text()).items()}
CASES = [(kind, text) for kind, texts in TEXTS.items() for text in texts]
PIECES = st.one_of(
    st.sampled_from(
        ["", "<", ">", "'", "/", "&", "\0", "\udcff", "-1", "0", "99999999999999999999", "é", "<x/>"]
    ),
    st.text(max_size=5),
)


class DocumentTests(TestCase):
    """What is printed is read again; what is broken is refused."""

    def test_printed_again(self) -> None:
        """A printed document is read and printed the same."""
        again = 0
        for kind, text in CASES:
            try:
                printed = WAYS[kind](text)
            except VirError:
                continue
            if kind not in ("device", "volume"):  # their names and keys are the driver's
                self.assertEqual(WAYS[kind](printed), printed)
                again += 1
        self.assertGreater(again, 150)

    @settings(max_examples=600, deadline=None)
    @given(st.sampled_from(CASES), st.integers(0, 400), st.integers(0, 12), PIECES)
    def test_broken(self, case: tuple[str, str], start: int, length: int, piece: str) -> None:
        """A document with a piece replaced is printed, or refused with a VirError."""
        kind, text = case
        start %= len(text) + 1
        try:
            printed = WAYS[kind](text[:start] + piece + text[start + length :])
        except VirError as error:
            self.assertTrue(error.message)
        else:
            self.assertTrue(printed.endswith(">\n"))

    @settings(max_examples=300, deadline=None)
    @given(
        st.sampled_from(TEXTS["network"]),
        st.integers(0, 5),
        st.integers(0, 13),
        st.integers(-2, 3),
        st.sampled_from(["host", "range", "interface", "portgroup", "txt", "srv", "zz"]),
        st.dictionaries(
            st.sampled_from(["mac", "ip", "name", "start", "end", "dev", "value", "service", "protocol"]),
            st.sampled_from(["", "10.0.0.5", "10.0.0.7", "a", "52:54:00:00:00:01", "zz"]),
        ),
    )
    def test_updates(
        self, text: str, command: int, section: int, parent: int, tag: str, attributes: dict[str, str]
    ) -> None:
        """An update ends in a document that can be read, or in a VirError; the old one stays as it was."""
        try:
            model = parse_network(text)
        except VirError:
            return
        before = format_network(model)
        inside = "".join(f" {name}='{value}'" for name, value in attributes.items())
        try:
            after = update_network(model, command, section, parent, f"<{tag}{inside}/>")
        except VirError as error:
            self.assertTrue(error.message)
        else:
            printed = format_network(after)
            self.assertEqual(format_network(parse_network(printed)), printed)
        self.assertEqual(format_network(model), before)
