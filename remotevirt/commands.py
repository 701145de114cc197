"""What our commands with subcommands share: how they end, and how they report a mistake, in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["FAILED", "Parser", "UsageError", "run"]

FAILED = 2
"""The exit status of a command that could not do what it was asked for."""


class UsageError(Exception):
    """A command line that makes no sense; its text is one line."""


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def run(name: str, parser: Parser, arguments: Sequence[str] | None, error: type[Exception]) -> int:
    """Run a command: the function that its options hold as ``run``.

    Args:
        name: what messages begin with.
        parser: reads the command line.
        arguments: the command line without the program's name; None: that of the process.
        error: what the command raises where it fails, with one line.

    Returns:
        The exit status.
    """
    try:
        options = parser.parse_args(arguments)
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except (UsageError, error) as problem:
        print(f"{name}: {problem}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
