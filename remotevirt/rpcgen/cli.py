"""The command line of the contract compiler: ``python -m remotevirt.rpcgen COMMAND ...``.

=====================  ==========================================================================
``check PATH...``      compile each contract in memory, and say what it holds
``diff OLD NEW``       print what changed; exit status 0: nothing, 1: something
``print PATH``         print the contract in our own form
``generate``           write the stubs of our own contracts; with ``--check`` only compare them
=====================  ==========================================================================

A PATH is a ``.x`` file, or a folder whose ``.x`` files make one contract. Files may be in libvirt's
dialect. Whatever goes wrong is told in one line on standard error, with exit status 2.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from remotevirt.commands import FAILED, Parser, run
from remotevirt.rpcgen.check import compile_contract, summary
from remotevirt.rpcgen.diff import compare, describe
from remotevirt.rpcgen.errors import RpcgenError
from remotevirt.rpcgen.generate import STUBS, differences, generate_all, write
from remotevirt.rpcgen.loader import Loaded, load_files
from remotevirt.rpcgen.printer import print_contract

__all__ = ["FAILED", "main"]

SAME = 0
DIFFERENT = 1

_DEFINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,99})=(-?[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; None: that of the process.

    Returns:
        The exit status.
    """
    return run("rpcgen", _parser(), arguments, RpcgenError)


def _parser() -> Parser:
    parser = Parser(prog="python -m remotevirt.rpcgen", description="Compile and compare RPC contracts.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    defines = Parser(add_help=False)
    defines.add_argument(
        "--define",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a constant that the contract uses and does not declare",
    )
    check = commands.add_parser("check", parents=[defines], help="compile in memory and say what is there")
    check.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a .x file, or a folder of them")
    check.set_defaults(run=_check)
    diff = commands.add_parser("diff", parents=[defines], help="print what changed between two contracts")
    diff.add_argument("old", type=Path, metavar="OLD", help="a .x file, or a folder of them")
    diff.add_argument("new", type=Path, metavar="NEW", help="a .x file, or a folder of them")
    diff.set_defaults(run=_diff)
    show = commands.add_parser("print", parents=[defines], help="print the contract in our own form")
    show.add_argument("path", type=Path, metavar="PATH", help="a .x file, or a folder of them")
    show.set_defaults(run=_print)
    generate = commands.add_parser("generate", help="write the stubs of our own contracts")
    generate.add_argument("--check", action="store_true", help="write nothing, only tell what is out of date")
    generate.set_defaults(run=_generate)
    return parser


def _load(path: Path, options: argparse.Namespace) -> Loaded:
    return load_files([path], _defines(options.define))


def _defines(texts: Sequence[str]) -> dict[str, int]:
    defines: dict[str, int] = {}
    for text in texts:
        found = _DEFINE.fullmatch(text)
        if found is None:
            raise RpcgenError(f"--define {text}: expected NAME=VALUE, the value a number")
        defines[found[1]] = int(found[2], 16 if found[2][:2].lower() == "0x" else 10)
    return defines


def _check(options: argparse.Namespace) -> int:
    for path in options.paths:
        loaded = _load(path, options)
        compile_contract(loaded)
        dialect = " (libvirt's dialect)" if loaded.dialect else ""
        print(f"{path}: {summary(loaded)}{dialect}")
        if loaded.external_types:
            print(f"{path}: types from elsewhere: {', '.join(loaded.external_types)}")
    return SAME


def _diff(options: argparse.Namespace) -> int:
    old, new = _load(options.old, options), _load(options.new, options)
    changes = compare(old.own, new.own, ours=not (old.dialect or new.dialect))
    print(describe(changes), end="")
    return DIFFERENT if changes else SAME


def _print(options: argparse.Namespace) -> int:
    loaded = _load(options.path, options)
    print(print_contract(loaded.own, includes=loaded.includes), end="")
    return SAME


def _generate(options: argparse.Namespace) -> int:
    files = generate_all()
    changed = differences(files) if options.check else write(files)
    for name in changed:
        print(f"{STUBS / name}: {'out of date' if options.check else 'written'}")
    return DIFFERENT if options.check and changed else SAME
