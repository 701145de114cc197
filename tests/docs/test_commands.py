"""The commands of the manual do what it says."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable

from twisted.trial.unittest import FailTest, SkipTest, SynchronousTestCase

from tests.docs.guests import PEERS, GuestSandbox
from tests.docs.pages import DOCS, ROOT, Block, Step, expected_pattern, page_names, read_blocks
from tests.docs.sandbox import Sandbox
from tests.interop.peers import require

MOST_BLOCKS_NOT_RUN = 6
"""Blocks that install something or take minutes; the manual shall have few of them."""

CLASSES = frozenset(
    {"background", "guest", "no-run", "needs-certtool", "needs-curl", "needs-libvirt-python", "needs-scram"}
)


REAL_GUESTS = frozenset({"qemu"})
"""Pages whose commands start guests."""

TOOLS = {"certtool": "gnutls-bin", "curl": "curl"}
"""Programs that only the manual uses, and the Debian packages that bring them."""


def need(name: str) -> None:
    """Skip, or with ``CI=true`` fail, unless a peer or a tool is installed."""
    if name not in TOOLS:
        require(name)
    elif shutil.which(name) is None:
        text = f"{name} is not installed (Debian: {TOOLS[name]})"
        raise FailTest(text) if os.environ.get("CI") == "true" else SkipTest(text)


def reason_not_to_run(block: Block) -> str | None:
    """Why a block is left out here, None if it is not."""
    if "no-run" in block.classes:
        return ""
    for name in sorted(block.classes):
        if name.startswith("needs-"):
            try:
                need(name.removeprefix("needs-"))
            except SkipTest as reason:
                return str(reason)
    return None


class ManualCommandsTests(SynchronousTestCase):
    """One test for each page that has commands, made below."""

    def run_page(self, page: str) -> None:
        """Run a page's blocks in order."""
        require("virsh")
        real = page in REAL_GUESTS
        if real:
            require(*PEERS)
        left_out = []
        with GuestSandbox() if real else Sandbox() as sandbox:
            for block in read_blocks(page):
                reason = reason_not_to_run(block)
                if reason is not None:
                    left_out.append(reason)
                elif "background" in block.classes:
                    sandbox.start(block.steps)
                elif "guest" in block.classes:
                    assert isinstance(sandbox, GuestSandbox), block.where
                    for visited in sandbox.visit(block.steps):
                        self.check_step(block, *visited)
                else:
                    for step in block.steps:
                        self.run_step(sandbox, block, step)
            for terminal in sandbox.terminals:
                terminal.wait_until_printed()
        reasons = [reason for reason in left_out if reason]
        if reasons:
            raise SkipTest(f"ran, but for {len(reasons)} blocks: {reasons[0]}")

    def run_step(self, sandbox: Sandbox, block: Block, step: Step) -> None:
        """Run one step and compare what it prints."""
        self.check_step(block, step, *sandbox.run(step))

    def check_step(self, block: Block, step: Step, status: int, output: str) -> None:
        """Compare what a step has printed; where nothing is shown, its status must be 0."""
        if not step.printed:
            self.assertEqual(status, 0, f"{block.where}: {step.command}\n{output}")
        elif not re.fullmatch(expected_pattern(step.printed), output):
            wanted = "\n".join(step.printed)
            self.fail(f"{block.where}: {step.command}\nwanted:\n{wanted}\nprinted:\n{output}")


def _test_of(page: str) -> Callable[[ManualCommandsTests], None]:
    def test(self: ManualCommandsTests) -> None:
        self.run_page(page)

    test.__doc__ = f"The commands of docs/{page}.rst."
    return test


for _page in page_names():
    if any("no-run" not in block.classes for block in read_blocks(_page)):
        setattr(ManualCommandsTests, f"test_{_page}", _test_of(_page))


class ManualBlocksTests(SynchronousTestCase):
    """The blocks themselves."""

    def test_every_block_is_read(self) -> None:
        """No console block escapes by the way it is written, and each begins with a command."""
        for page in page_names():
            text = (DOCS / f"{page}.rst").read_text()
            blocks = read_blocks(page)
            self.assertEqual(text.count("code-block:: console"), len(blocks), page)
            for block in blocks:
                self.assertTrue(block.steps, block.where)
                self.assertEqual(block.classes - CLASSES, frozenset(), block.where)

    def test_few_blocks_are_not_run(self) -> None:
        """Almost all that can be typed is run."""
        not_run = [b.where for page in page_names() for b in read_blocks(page) if "no-run" in b.classes]
        self.assertLessEqual(len(not_run), MOST_BLOCKS_NOT_RUN, not_run)

    def test_make_targets_exist(self) -> None:
        """What the manual tells people to make can be made."""
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        named = {
            word
            for page in page_names()
            for word in re.findall(r"(?:\$ |``)make ([a-z]+)", (DOCS / f"{page}.rst").read_text())
        }
        self.assertIn("run", named)
        self.assertEqual(named - targets, set())
