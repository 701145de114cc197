"""The command line of policies: ``remotevirt-policy COMMAND ...``.

=========================  ==================================================================================
``check FILE``             read a policy; exit status 0: it can be used
``explain FILE ...``       may X do Y on Z, and by which line? exit status 0: allowed, 1: denied
``permissions [PATTERN]``  list libvirt's permissions, and the calls that need each
=========================  ==================================================================================

Whatever goes wrong is told in one line on standard error, with exit status 2.
"""

from __future__ import annotations

import argparse
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from remotevirt.commands import FAILED, Parser, run
from remotevirt.errors import RemotevirtError
from remotevirt.identity import Identity
from remotevirt.policy.documents import read_document
from remotevirt.policy.engine import Rights
from remotevirt.policy.file import FILE_MAXIMUM, PolicyError, group_number, load_policy, user_number
from remotevirt.policy.permissions import Right, expand, needed_by
from remotevirt.policy.rules import Thing
from remotevirt.xml.values import parse_uuid

__all__ = ["ALLOWED", "DENIED", "FAILED", "main"]

ALLOWED: Final = 0
DENIED: Final = 1

ON: Final = ("name", "uuid", "parent")
"""What ``--on`` can say of an object."""

WHEN: Final = {"": "", "sometimes": " (with some flags)", "filter": " (what it shows)"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; None: that of the process.

    Returns:
        The exit status.
    """
    return run("remotevirt-policy", _parser(), arguments, RemotevirtError)


def _parser() -> Parser:
    parser = Parser(prog="remotevirt-policy", description="Check policies, and ask them.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    check = commands.add_parser("check", help="read a policy and say whether it can be used")
    check.add_argument("file", type=Path, metavar="FILE", help="the policy")
    check.set_defaults(run=_check)
    explain = commands.add_parser("explain", help="may X do Y on Z, and by which line?")
    explain.add_argument("file", type=Path, metavar="FILE", help="the policy")
    who = explain.add_argument_group("who")
    who.add_argument("--uid", metavar="USER", help="a local user, by name or number, with all of its groups")
    who.add_argument(
        "--gid", metavar="GROUP", help="its group, by name or number; that of the user if not given"
    )
    who.add_argument("--dn", metavar="NAME", help="the subject of its certificate: C=GB,O=Example,CN=client")
    who.add_argument("--sasl", metavar="NAME", help="the user name that it authenticated with")
    who.add_argument(
        "--transport",
        choices=("unix", "tcp", "tls"),
        help="how it came in: tls with --dn, tcp with --sasl alone, otherwise unix",
    )
    what = explain.add_argument_group("what")
    what.add_argument("--may", required=True, metavar="PERMISSION", help="such as domain:start")
    what.add_argument("--driver", default="test", metavar="SCHEME", help="of the connection's URI; test")
    what.add_argument(
        "--on",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="the object's name, uuid or parent (pool or network); may be repeated",
    )
    what.add_argument(
        "--document", type=Path, metavar="FILE", help="the object's XML, for name, UUID, metadata"
    )
    explain.set_defaults(run=_explain)
    permissions = commands.add_parser("permissions", help="list libvirt's permissions and who needs them")
    permissions.add_argument(
        "pattern",
        nargs="?",
        default="*:*",
        metavar="PATTERN",
        help="such as domain:start, domain:* or *:read",
    )
    permissions.set_defaults(run=_permissions)
    return parser


# -- check ----------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    policy = load_policy(options.file)
    allows = sum(rule.allow for rule in policy.rules)
    print(f"{options.file}: {allows} rules allow, {len(policy.rules) - allows} deny")
    return ALLOWED


# -- explain --------------------------------------------------------------------------------------


def _explain(options: argparse.Namespace) -> int:
    policy = load_policy(options.file)
    right = _right(options.may)
    rights = policy.for_client(_identity(options), options.driver)
    thing = _thing(options, right, rights)
    decision = rights.check(*right, thing)
    print(decision.reason)
    if not decision.allowed and rights.possible(*right, thing):
        print("(That is so while no more is known of the object: --on and --document say more.)")
    return ALLOWED if decision.allowed else DENIED


def _right(text: str) -> Right:
    try:
        rights = expand(text)
    except ValueError as error:
        raise PolicyError(f"--may: {error}") from None
    if len(rights) != 1:
        raise PolicyError(f"--may {text}: one permission is wanted")
    (right,) = rights
    return right


def _identity(options: argparse.Namespace) -> Identity:
    uid = gid = None
    try:
        if options.uid is not None:
            uid = user_number(options.uid)
        if options.gid is not None:
            gid = group_number(options.gid)
    except ValueError as error:
        raise PolicyError(str(error)) from None
    if uid is not None and gid is None:
        try:
            gid = pwd.getpwuid(uid).pw_gid
        except KeyError:
            gid = None
    transport = options.transport or (
        "tls" if options.dn else "tcp" if options.sasl and uid is None else "unix"
    )
    if transport != "unix" and (uid is not None or gid is not None):
        raise PolicyError(f"a client that comes in by {transport} has no uid or gid")
    if transport != "tls" and options.dn:
        raise PolicyError(f"a client that comes in by {transport} has no certificate")
    return Identity(transport=transport, uid=uid, gid=gid, dn=options.dn, sasl=options.sasl)


def _thing(options: argparse.Namespace, right: Right, rights: Rights) -> Thing | None:
    """What the command line says of the object; None if nothing."""
    thing = None
    if options.document is not None:
        try:
            with open(options.document, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(FILE_MAXIMUM)
        except OSError as error:
            raise PolicyError(f"{options.document}: {error.strerror}") from error
        if right[0] == "connect":
            raise PolicyError("a connection has no document")
        thing = read_document(right[0], text, rights.uris(*right))
    for text in options.on:
        key, equals, value = text.partition("=")
        if not equals or key not in ON:
            raise PolicyError(f"--on {text}: expected one of {', '.join(f'{key}=' for key in ON)}")
        found: Any = value
        if key == "uuid":
            found = parse_uuid(value)
            if found is None:
                raise PolicyError(f"--on {text}: no UUID")
        thing = thing or Thing(right[0])
        setattr(thing, key, found)
    return thing


# -- permissions ----------------------------------------------------------------------------------


def _permissions(options: argparse.Namespace) -> int:
    try:
        rights = expand(options.pattern)
    except ValueError as error:
        raise PolicyError(str(error)) from None
    for right in sorted(rights):
        print(":".join(right))
        for program, procedure, when in needed_by(right):
            name = procedure.name if program.name == "remote" else f"{program.name} {procedure.name}"
            print(f"    {name}{WHEN[when]}")
    return ALLOWED
