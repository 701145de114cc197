"""The users file: its text, its permissions, its changes; and the checker over it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from remotevirt.auth import SaslService, UsersChecker, UsersError, UsersFile, users_portal
from remotevirt.auth import users as module
from remotevirt.auth.interfaces import ScramProof
from remotevirt.auth.scram import ITERATIONS
from remotevirt.auth.users import Users, check_name, parse_users, read_users, updating_users
from tests.auth.fakes import KEYS, AuthTestCase, peer
from tests.strategies import bounded, mutated

TEXT = Users(KEYS, b"s" * 32).format()


def write(path: Path, users: Any = KEYS) -> Path:
    """Make a users file."""
    with updating_users(path) as current:
        current.clear()
        current.update(users)
    return path


class TextTests(SynchronousTestCase):
    """What is in the file."""

    def test_round_trip(self) -> None:
        self.assertEqual(Users(KEYS, b"s" * 32), parse_users(TEXT))

    def test_no_passwords(self) -> None:
        self.assertNotIn("secret", TEXT)
        self.assertNotIn("pencil", TEXT)

    def test_comments_and_empty_lines(self) -> None:
        self.assertEqual(KEYS, parse_users("\n# x:y\n" + TEXT + "\n").users)

    def test_without_a_secret_there_is_a_new_one(self) -> None:
        first, second = parse_users(""), parse_users("")
        self.assertEqual(32, len(first.secret))
        self.assertNotEqual(first.secret, second.secret)

    def test_mistakes_are_named(self) -> None:
        key = TEXT.splitlines()[2].partition(":")[2].partition(":")[0]
        name, count, salt, stored, server = key.split("$")
        for line, text in {
            "alice": "a user has keys",
            f"alice:{key}:{key}": "a user has keys, one for each mechanism",
            "alice:": "keys are MECHANISM",
            f"alice:{key}$x": "keys are MECHANISM",
            f"alice:MD5${count}${salt}${stored}${server}": "unknown mechanism 'MD5'",
            f"alice:{name}$4095${salt}${stored}${server}": "4095 iterations",
            f"alice:{name}$-1${salt}${stored}${server}": "no number",
            f"alice:{name}$\u0664${salt}${stored}${server}": "no number",
            f"alice:{name}${'9' * 5000}${salt}${stored}${server}": "no number",
            f"alice:{name}$99999999${salt}${stored}${server}": "99999999 iterations",
            f"alice:{name}${count}$AAAA${stored}${server}": "a wrong size",
            f"alice:{name}${count}${salt}$AAAA${server}": "a wrong size",
            f"alice:{name}${count}${salt}${stored}$!": "not base 64",
            f"alice:{name}${count}${salt}${stored}$\u00e9": "not base 64",
            f"\uff41lice:{key}": "SASLprep",
            f" alice:{key}": "no blank",
            f"al\x07ice:{key}": "SASLprep forbids",
            ":AAAA:AAAA": "one value",
            ":!": "not base 64",
        }.items():
            error = self.assertRaises(UsersError, parse_users, f"# x\n{line}\n", "file")
            self.assertIn(text, str(error))
            self.assertTrue(str(error).startswith("file:2: "), error)
            self.assertEqual(1, len(str(error).splitlines()), error)
            self.assertLess(len(str(error)), 300)
        for twice, text in {f"alice:{key}\n": "a second 'alice'", ":AAAA\n": "a second secret"}.items():
            error = self.assertRaises(UsersError, parse_users, twice * 2, "file")
            self.assertEqual(f"file:2: {text}", str(error))

    def test_names(self) -> None:
        self.assertEqual("joe@EXAMPLE.COM", check_name("joe@EXAMPLE.COM"))
        self.assertEqual("a b", check_name("a\u00a0b"))
        for name in ("", "a:b", "#a", " a", "a ", "a\nb", "\ud800", "\u00ad", "x" * 257):
            self.assertRaises(UsersError, check_name, name)

    @bounded(200)
    @given(st.data())
    def test_mutated(self, data: Any) -> None:
        """A damaged file is users or a UsersError, and the users can be written again."""
        text = data.draw(mutated(TEXT.encode())).decode(errors="replace")
        try:
            users = parse_users(text)
        except UsersError:
            return
        self.assertEqual(users, parse_users(users.format()))


class FileTests(SynchronousTestCase):
    """The file on disk."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "users"

    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)

    def test_made_for_its_owner_only(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        write(self.path)
        self.assertEqual(0o600, self.mode())
        self.assertEqual(["users"], os.listdir(self.path.parent))

    def test_secret_and_mode_stay(self) -> None:
        write(self.path)
        secret = read_users(self.path).secret
        self.path.chmod(0o640)
        write(self.path, {})
        self.assertEqual((secret, 0o640), (read_users(self.path).secret, self.mode()))

    def test_others_must_not_read_it(self) -> None:
        write(self.path)
        for mode in (0o604, 0o602, 0o620, 0o666):
            self.path.chmod(mode)
            error = self.assertRaises(UsersError, read_users, self.path)
            self.assertIn(f"others may read or change it (mode {mode:04o})", str(error))

    def test_new_file_takes_the_place_of_the_old(self) -> None:
        """A reader that has opened the old one reads it to its end."""
        write(self.path)
        with open(self.path) as reader:
            write(self.path, {"alice": KEYS["alice"]})
            self.assertEqual(KEYS, parse_users(reader.read()).users)
        self.assertEqual({"alice"}, set(read_users(self.path).users))

    def test_on_disk_before_it_is_in_place(self) -> None:
        """The data is synced, then the name is moved, then the folder is synced."""
        calls: list[str] = []
        real_fsync, real_replace = os.fsync, os.replace

        def fsync(descriptor: int) -> None:
            calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            real_fsync(descriptor)

        def replace(source: Any, target: Any) -> None:
            calls.append("replace")
            real_replace(source, target)

        self.patch(os, "fsync", fsync)
        self.patch(os, "replace", replace)
        write(self.path)
        self.assertEqual(["file", "replace", "folder"], calls)

    def test_failure_leaves_the_old_one(self) -> None:
        write(self.path)
        before = self.path.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        error = self.assertRaises(UsersError, write, self.path, {})
        self.assertEqual(f"{self.path}: No space left on device", str(error))
        self.assertEqual(before, self.path.read_bytes())
        self.assertEqual(["users"], os.listdir(self.path.parent))

    def test_error_in_the_block_changes_nothing(self) -> None:
        write(self.path)
        with self.assertRaises(ZeroDivisionError), updating_users(self.path) as users:
            users.clear()
            raise ZeroDivisionError
        self.assertEqual(KEYS, read_users(self.path).users)

    def test_cannot_be_read(self) -> None:
        self.assertIn("No such file", str(self.assertRaises(UsersError, read_users, self.path)))
        self.path.mkdir()
        self.assertRaises(UsersError, read_users, self.path)
        self.path.rmdir()
        self.path.write_bytes(b"\xff")
        self.path.chmod(0o600)
        self.assertIn("not UTF-8", str(self.assertRaises(UsersError, read_users, self.path)))
        self.patch(module, "FILE_MAXIMUM", 10)
        self.path.write_bytes(b"#" * 11)
        self.assertIn("larger", str(self.assertRaises(UsersError, read_users, self.path)))
        nowhere = self.path / "no" / "users"
        self.assertRaises(UsersError, write, nowhere)


class ReloadTests(SynchronousTestCase):
    """A running daemon sees changes."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = write(folder / "users")
        self.users = UsersFile(self.path)

    def names(self) -> set[str]:
        return set(self.users.current().users)

    def test_change_is_seen(self) -> None:
        self.assertEqual({"alice", "bob"}, self.names())
        write(self.path, {"bob": KEYS["bob"]})
        self.assertEqual({"bob"}, self.names())

    def test_unchanged_file_is_not_read(self) -> None:
        self.patch(self.users, "reload", lambda: self.fail("read again"))
        self.names()

    def test_broken_change_is_not_used_and_said_once(self) -> None:
        said: list[str] = []
        self.patch(self.users, "log", _Log(said))
        self.path.write_text("nonsense\n")
        for _ in range(3):
            self.assertEqual({"alice", "bob"}, self.names())
        self.assertEqual([f"{self.path}:1: a user has keys, one for each mechanism"], said)
        self.assertRaises(UsersError, self.users.reload)
        self.path.unlink()
        self.assertEqual({"alice", "bob"}, self.names())
        write(self.path, {})
        self.assertEqual(set(), self.names())

    def test_must_be_there_at_start(self) -> None:
        self.assertRaises(UsersError, UsersFile, self.path.parent / "none")

    def test_iterations_of_most(self) -> None:
        self.assertEqual(4096, self.users.iterations("SCRAM-SHA-256"))
        write(self.path, {})
        self.names()
        self.assertEqual(ITERATIONS, self.users.iterations("SCRAM-SHA-256"))


class _Log:
    def __init__(self, said: list[str]) -> None:
        self.said = said

    def error(self, text: str, error: Exception) -> None:
        self.said.append(str(error))


class CheckerTests(AuthTestCase):
    """The file's users log in."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = write(
            folder / "users", {"alice": KEYS["alice"], "bob": {"SCRAM-SHA-1": KEYS["bob"]["SCRAM-SHA-1"]}}
        )
        self.hashed: list[Any] = []
        self.checker = UsersChecker(UsersFile(self.path), self.in_thread)

    def in_thread(self, function: Any, *args: Any) -> Any:
        self.hashed.append(args)
        return maybeDeferred(function, *args)

    def password(self, name: str, password: str) -> Any:
        return self.checker.requestAvatarId(UsernamePassword(name.encode(), password.encode()))

    def test_password(self) -> None:
        self.assertEqual(b"alice", self.successResultOf(self.password("alice", "secret")))
        self.assertEqual(b"bob", self.successResultOf(self.password("bob", "pencil")))
        self.failureResultOf(self.password("alice", "Secret"), UnauthorizedLogin)
        self.failureResultOf(self.password("alice", ""), UnauthorizedLogin)

    def test_unknown_user_costs_the_same(self) -> None:
        """One password is hashed for each attempt, as often as others' are."""
        self.failureResultOf(self.password("mallory", "secret"), UnauthorizedLogin)
        self.failureResultOf(self.password("alice", "wrong"), UnauthorizedLogin)
        (_, decoy), (_, real) = self.hashed
        self.assertEqual((real.mechanism, real.iterations), (decoy.mechanism, decoy.iterations))

    def test_decoys_outlive_the_daemon(self) -> None:
        again = UsersChecker(UsersFile(self.path))
        self.assertEqual(
            self.checker.scram_decoy("mallory", "SCRAM-SHA-256"),
            again.scram_decoy("mallory", "SCRAM-SHA-256"),
        )

    def test_proof_must_be_of_the_present_keys(self) -> None:
        keys = KEYS["alice"]["SCRAM-SHA-256"]
        proof = ScramProof("alice", keys)
        self.assertEqual(b"alice", self.successResultOf(self.checker.requestAvatarId(proof)))
        write(self.path, {"alice": KEYS["bob"]})
        self.failureResultOf(self.checker.requestAvatarId(proof), UnauthorizedLogin)
        write(self.path, {})
        self.failureResultOf(self.checker.requestAvatarId(proof), UnauthorizedLogin)

    def test_through_a_portal(self) -> None:
        service = SaslService(users_portal(self.path), Clock())
        exchange = service.begin(peer(), "tls")
        self.successResultOf(self.scram(exchange, "alice", "secret"))
        self.assertEqual("alice", exchange.username)


class ThreadTests(TestCase):
    """Hashing is done in a thread, by the real reactor."""

    def test_password(self) -> Any:
        import threading

        folder = Path(self.mktemp())
        folder.mkdir()
        checker = UsersChecker(UsersFile(write(folder / "users")))
        threads: list[int] = []
        real = checker._in_thread

        def in_thread(function: Any, *args: Any) -> Any:
            def look(*args: Any) -> Any:
                threads.append(threading.get_ident())
                return function(*args)

            return real(look, *args)

        self.patch(checker, "_in_thread", in_thread)

        def check(name: bytes) -> None:
            self.assertEqual(b"alice", name)
            self.assertNotEqual([threading.get_ident()], threads)

        return checker.requestAvatarId(UsernamePassword(b"alice", b"secret")).addCallback(check)
