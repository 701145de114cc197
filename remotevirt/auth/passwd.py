"""``remotevirt-passwd``: adds, changes, removes, lists and checks the users of a users file.

Exit status: 0 done; 1 refused (no such user, wrong password, the file cannot be used); 2 a mistake on the
command line.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from remotevirt.auth.interfaces import AuthRefused
from remotevirt.auth.scram import fits, make_keys
from remotevirt.auth.text import PASSWORD_MAXIMUM, prepare_password
from remotevirt.auth.users import UsersError, check_name, read_users, updating_users

__all__ = ["default_path", "main", "run"]

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")
"""What keys are made for."""

LEGACY = "SCRAM-SHA-1"
"""What keys are made for besides if somebody asks: a stolen file is as weak as the weakest of its keys."""


def default_path() -> Path:
    """Where the users file is: root's in ``/etc/remotevirt``, others' in their configuration folder."""
    if os.geteuid() == 0:
        return Path("/etc/remotevirt/users")
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base, "remotevirt", "users")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remotevirt-passwd",
        description="Add a user to a users file of remotevirt, or change a password. The file holds salted "
        "keys, never passwords; a running daemon sees the change at once.",
        allow_abbrev=False,
    )
    parser.add_argument("--file", type=Path, default=None, help=f"the users file (default: {default_path()})")
    parser.add_argument(
        "--stdin", action="store_true", help="read the password from standard input, one line"
    )
    parser.add_argument("--sha1", action="store_true", help=f"make keys for {LEGACY} too, for old clients")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--delete", metavar="USER", help="remove a user")
    what.add_argument("--check", metavar="USER", help="tell whether a password is the user's")
    what.add_argument("--list", action="store_true", help="print the users and their mechanisms")
    parser.add_argument("user", nargs="?", metavar="USER", help="whom to add, or whose password to change")
    return parser


def _password(from_stdin: bool, twice: bool) -> str:
    """Ask for a password and prepare it.

    Raises:
        UsersError: none was given, or one that cannot be used.
    """
    if from_stdin:
        line = sys.stdin.readline(PASSWORD_MAXIMUM + 2)
        text = line.removesuffix("\n")
    else:
        text = getpass.getpass("Password: ")
        if twice and getpass.getpass("Again: ") != text:
            raise UsersError("the passwords differ")
    try:
        return prepare_password(text)
    except AuthRefused as error:
        raise UsersError(str(error)) from None


def _change(path: Path, user: str, password: str, legacy: bool) -> None:
    names = (*MECHANISMS, LEGACY) if legacy else MECHANISMS
    keys = {name: make_keys(name, password) for name in names}
    with updating_users(path) as users:
        users[user] = keys


def _delete(path: Path, user: str) -> None:
    with updating_users(path) as users:
        if user not in users:
            raise UsersError(f"no user {user!r}")
        del users[user]


def _check(path: Path, user: str, password: str) -> None:
    keys = read_users(path).users.get(user)
    if keys is None:
        raise UsersError(f"no user {user!r}")
    if not all(fits(password, key) for key in keys.values()):
        raise UsersError("wrong password")


def _act(options: argparse.Namespace, path: Path) -> None:
    if options.list:
        for name, keys in sorted(read_users(path).users.items()):
            print(f"{name}: {' '.join(keys)}")
    elif options.delete is not None:
        _delete(path, check_name(options.delete))
    elif options.check is not None:
        user = check_name(options.check)
        _check(path, user, _password(options.stdin, twice=False))
    else:
        user = check_name(options.user)
        if options.file is None:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _change(path, user, _password(options.stdin, twice=True), options.sha1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command line says; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    elsewhere = options.list or options.delete is not None or options.check is not None
    if (options.user is not None) == elsewhere:
        parser.error("one USER is wanted, or one of --delete, --check and --list")
    try:
        _act(options, default_path() if options.file is None else options.file)
    except UsersError as error:
        print(f"remotevirt-passwd: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"remotevirt-passwd: {error.filename or 'error'}: {error.strerror}", file=sys.stderr)
        return 1
    except UnicodeDecodeError:
        print("remotevirt-passwd: the password is not UTF-8 text", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("remotevirt-passwd: no password given", file=sys.stderr)
        return 1
    return 0


def run() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
