"""The manual's ``console`` blocks, read from its pages.

A block is a sequence of steps: a command after ``$`` (lines after ``>`` go on with it), and below it what it
prints. ``docs/contributing.rst`` says what the classes of blocks mean.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCS", "ROOT", "Block", "Step", "expected_pattern", "page_names", "read_blocks"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"^\.\. code-block:: console\n(?P<options>(?:   :.*\n)*)\n(?P<body>(?:(?:   .*)?\n)+)", re.MULTILINE
)
_CLASSES = re.compile(r":class: (.*)")


class Step(NamedTuple):
    """A command, and the lines it is said to print; none: the page says nothing of it.

    What is typed in a guest's console is a step, too; it begins with ``#``.
    """

    command: str
    printed: Sequence[str]


class Block(NamedTuple):
    """One block of a page, and where it begins."""

    where: str
    classes: frozenset[str]
    steps: Sequence[Step]


def page_names() -> list[str]:
    """The pages, in alphabetical order."""
    return sorted(path.stem for path in DOCS.glob("*.rst"))


def read_blocks(page: str) -> list[Block]:
    """The console blocks of a page, in order."""
    text = (DOCS / f"{page}.rst").read_text() + "\n"
    blocks = []
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        named = _CLASSES.search(found["options"])
        classes = frozenset(named[1].split() if named else ())
        steps = _steps(textwrap.dedent(found["body"]), typed="guest" in classes)
        blocks.append(Block(f"docs/{page}.rst:{line}", classes, steps))
    return blocks


def _steps(text: str, *, typed: bool) -> list[Step]:
    commands: list[str] = []
    printed: list[list[str]] = []
    for line in text.rstrip("\n").splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
            printed.append([])
        elif typed and line.startswith("# "):
            commands.append(line)
            printed.append([])
        elif line.startswith("> ") or line == ">":
            commands[-1] += f"\n{line[2:]}"
        else:
            printed[-1].append(line)
    for lines in printed:
        while lines and not lines[-1]:
            lines.pop()
    return [Step(command, lines) for command, lines in zip(commands, printed, strict=True)]


def expected_pattern(printed: Sequence[str]) -> re.Pattern[str]:
    """What the output must match from its beginning, if a page says that these lines are printed."""
    parts = []
    for line in printed:
        if line.strip() == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(map(re.escape, line.split("..."))) + r"\n")
    return re.compile("".join(parts))
