"""The store: what is written is there again, what is damaged is found out, what fails changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from remotevirt.store import (
    VERSION,
    DomainRow,
    InterfaceRow,
    MomentRow,
    PoolRow,
    SecretRow,
    Store,
    StoreError,
)
from remotevirt.store.rows import KINDS, digest_of, key_of
from remotevirt.store.schema import APPLICATION_ID

VERSION_1 = Path(__file__).with_name("version1.sql")


def domain(number: int, **changes: Any) -> DomainRow:
    """Return the row of a domain with a document of some pages."""
    document = f"<domain>{number}</domain>" * 500
    row = DomainRow(bytes([number]) * 16, number, f"d{number}", document, 7, 4096, 2048, 2, 0, 0, None, None)
    return row._replace(**changes)


def snapshot(number: int, name: str) -> MomentRow:
    """Return the row of a snapshot of a domain."""
    return MomentRow(bytes([number]) * 16, "snapshot", name, 1, 1, None, 5, "<domainsnapshot/>", 3, 2)


class StoreCase(TestCase):
    """A test with a folder for stores."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "w.db")

    def create(self, *rows: Any) -> Store:
        """Make a store that is closed after the test."""
        store = Store.create(self.path, rows)
        self.addCleanup(store.close)
        return store

    def open(self) -> Store:
        """Open the store, which is closed after the test."""
        store = Store.open(self.path)
        self.addCleanup(store.close)
        return store

    def names(self, store: Store) -> list[str]:
        """The names of the domains."""
        return [row.name for row in store.rows[DomainRow]]


class StoreTests(StoreCase):
    """A file in order."""

    def test_rows_come_back(self) -> None:
        """Rows are found as they were put, in order of position; what a domain owns goes with it."""
        store = self.create(domain(2))
        store.write([domain(1), snapshot(1, "a"), snapshot(2, "b")], [])
        store.write([domain(2, autostart=1, snapshot="b")], [])
        store.close()
        again = self.open()
        self.assertEqual([domain(1), domain(2, autostart=1, snapshot="b")], again.rows[DomainRow])
        self.assertEqual([snapshot(1, "a"), snapshot(2, "b")], again.rows[MomentRow])
        again.write([], [(DomainRow, (bytes([1]) * 16,))])
        again.close()
        last = self.open()
        self.assertEqual(["d2"], self.names(last))
        self.assertEqual(["b"], [row.name for row in last.rows[MomentRow]])

    def test_drops_come_first(self) -> None:
        """A name is free again for whoever comes in the same transaction."""
        store = self.create(domain(1))
        store.write([domain(2, name="d1")], [(DomainRow, (bytes([1]) * 16,))])
        store.close()
        self.assertEqual([domain(2, name="d1")], self.open().rows[DomainRow])

    def test_all_or_nothing(self) -> None:
        """A transaction that fails in the middle leaves nothing, and the store goes on."""
        store = self.create(domain(1))
        with self.assertRaisesRegex(StoreError, "UNIQUE"):
            store.write([domain(3), domain(2, name="d1")], [])
        store.write([domain(4)], [])
        store.close()
        self.assertEqual(["d1", "d4"], self.names(self.open()))
        self.flushLoggedErrors()

    def test_for_us_only(self) -> None:
        """Nobody else can read the file, or its log."""
        store = self.create(domain(1))
        store.write([domain(2)], [])
        for suffix in ("", "-wal"):
            self.assertEqual(0o600, os.stat(self.path + suffix).st_mode & 0o777)

    def test_one_process(self) -> None:
        """Who opens it a second time is told."""
        self.create(domain(1))
        with self.assertRaisesRegex(StoreError, "in use by another process"):
            Store.open(self.path)

    def test_the_log_is_emptied(self) -> None:
        """When it gets too long its pages go into the file; what it held is there."""
        store = self.create()
        store.checkpoint_bytes = 50_000
        for number in range(1, 30):
            store.write([domain(number)], [])
        self.assertGreater(store.checkpoints, 2)
        self.assertLess(os.stat(f"{self.path}-wal").st_size, 100_000)
        store.close()
        self.assertEqual(29, len(self.open().rows[DomainRow]))

    def test_settings(self) -> None:
        """What durability hangs on is set."""
        execute = self.create()._connection.execute
        for name, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            self.assertEqual(value, execute(f"PRAGMA {name}").fetchone()[0])

    def test_digests_tell_values_apart(self) -> None:
        """Neither the border between values nor None and a text are mixed up."""
        values = [("ab", "c"), ("a", "bc"), (None, "abc"), ("-", "abc"), (b"1", ""), (1, None)]
        self.assertEqual(len(values), len({digest_of(value) for value in values}))


class FailureTests(StoreCase):
    """What goes wrong while writing."""

    def test_full(self) -> None:
        """A full disk: the change is refused, nothing is lost, and with room again the store goes on."""
        store = self.create(domain(1))
        execute = store._connection.execute
        (pages,) = execute("PRAGMA page_count").fetchone()
        execute(f"PRAGMA max_page_count = {pages}")
        with self.assertRaisesRegex(StoreError, "full"):
            store.write([domain(number) for number in range(2, 40)], [])
        execute("PRAGMA max_page_count = 100000")
        store.write([domain(50)], [])
        store.close()
        self.assertEqual(["d1", "d50"], self.names(self.open()))

    def test_uncertain(self) -> None:
        """After an error that leaves the disk's contents in doubt nothing more is written."""
        store = self.create(domain(1))
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        real = store._connection

        class Failing:
            """A connection whose COMMIT fails."""

            in_transaction = True

            def execute(self, statement: str, *args: Any) -> Any:
                """Pass statements on."""
                if statement == "COMMIT":
                    raise error
                return real.execute(statement, *args)

        store._connection = Failing()
        with self.assertRaisesRegex(StoreError, "I/O error"):
            store.write([domain(2)], [])
        store._connection = real
        with self.assertRaisesRegex(StoreError, "until the daemon is started anew"):
            store.write([domain(3)], [])
        store.close()
        self.assertEqual(["d1"], self.names(self.open()))

    def test_cannot_be_made(self) -> None:
        """A folder that is not there is an error that names the file."""
        with self.assertRaisesRegex(StoreError, "no/w.db"):
            Store.create(os.path.join(self.folder, "no/w.db"), [])


class SchemaTests(StoreCase):
    """Files of other versions."""

    def old(self) -> None:
        """Make a file of version 1, with a domain and a pool."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.executescript(VERSION_1.read_text())
        first = domain(1)
        marks = ", ".join("?" * 13)
        connection.execute(f"INSERT INTO domains VALUES ({marks})", (*first, digest_of(first)))
        pool = (b"p" * 16, 1, "p", "<pool/>", 7, 1)
        connection.execute("INSERT INTO pools VALUES (?, ?, ?, ?, ?, ?, ?)", (*pool, digest_of(pool)))
        connection.close()

    def test_older(self) -> None:
        """A file of version 1 becomes one of today, and keeps what it has."""
        self.old()
        store = self.open()
        self.assertEqual([domain(1)], store.rows[DomainRow])
        self.assertEqual([PoolRow(b"p" * 16, 1, "p", "<pool/>", 7, 1, -1)], store.rows[PoolRow])
        self.assertEqual(VERSION, store._connection.execute("PRAGMA user_version").fetchone()[0])
        store.close()
        self.assertEqual([domain(1)], self.open().rows[DomainRow])

    def test_without_secrets(self) -> None:
        """A file of version 3 becomes one with secrets, and keeps what it has."""
        store = self.create(domain(1))
        store._connection.execute("DROP TABLE secrets")
        store._connection.execute("DROP TABLE owners")
        store._connection.execute("PRAGMA user_version = 3")
        store.close()
        again = self.open()
        self.assertEqual([domain(1)], again.rows[DomainRow])
        secrets = [
            SecretRow(b"1" * 16, 1, 0, None, "<secret/>", 9, None),
            SecretRow(b"2" * 16, 2, 0, None, "<secret/>", 9, b"\0sealed"),
            SecretRow(b"3" * 16, 3, 2, "/a", "<secret/>", 9, b""),
        ]
        again.write(secrets, [])
        with self.assertRaisesRegex(StoreError, "UNIQUE"):
            again.write([secrets[2]._replace(uuid=b"4" * 16)], [])
        again.close()
        self.assertEqual(secrets, self.open().rows[SecretRow])
        self.flushLoggedErrors()

    def test_steps_are_whole(self) -> None:
        """A step that fails leaves the file as it was."""
        self.old()
        connection = sqlite3.connect(self.path)
        connection.execute("ALTER TABLE pools ADD COLUMN allocation TEXT")
        connection.close()
        with self.assertRaises(StoreError):
            Store.open(self.path)
        self.assertEqual(["w.db"], os.listdir(self.folder))
        connection = sqlite3.connect(self.path)
        self.assertEqual(1, connection.execute("PRAGMA user_version").fetchone()[0])
        connection.close()
        self.flushLoggedErrors()

    def test_newer(self) -> None:
        """A file of a newer version is left alone."""
        self.create(domain(1)).close()
        connection = sqlite3.connect(self.path)
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
        with self.assertRaisesRegex(StoreError, "newer"):
            Store.open(self.path)

    def test_foreign(self) -> None:
        """So is a database of somebody else."""
        connection = sqlite3.connect(self.path)
        connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        with self.assertRaisesRegex(StoreError, "another program"):
            Store.open(self.path)

    def test_marks(self) -> None:
        """The file says whose it is."""
        execute = self.create()._connection.execute
        self.assertEqual(APPLICATION_ID, execute("PRAGMA application_id").fetchone()[0])

    def test_columns_are_fields(self) -> None:
        """The tables have the columns that the rows have."""
        execute = self.create()._connection.execute
        for kind in KINDS:
            columns = {name for _, name, *_ in execute(f"PRAGMA table_info({kind.TABLE})")}
            self.assertEqual({*kind._fields, "digest"}, columns)


class DamageTests(StoreCase):
    """Files that are not as they were written."""

    COUNT = 60

    def setUp(self) -> None:
        super().setUp()
        rows = [domain(number) for number in range(1, self.COUNT + 1)]
        self.create(*rows, snapshot(7, "gone with it"), InterfaceRow("eth0", 1, "<interface/>", 3)).close()

    def log(self) -> list[str]:
        """What was logged as critical."""
        from twisted.logger import LogLevel, formatEvent, globalLogPublisher

        found: list[str] = []

        def note(event: Any) -> None:
            if event.get("log_level") is LogLevel.critical:
                found.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return found

    def test_a_changed_row(self) -> None:
        """A row that somebody changed is set aside, with what belongs to it; the rest is served."""
        connection = sqlite3.connect(self.path)
        connection.execute("UPDATE domains SET document = '<domain>other</domain>' WHERE name = 'd7'")
        connection.commit()
        connection.close()
        said = self.log()
        store = self.open()
        names = {f"d{number}" for number in range(1, self.COUNT + 1)} - {"d7"}
        self.assertEqual(names, set(self.names(store)))
        self.assertEqual([], store.rows[MomentRow])
        self.assertEqual(1, len(store.rows[InterfaceRow]))
        (text,) = said
        for words in ("domains 'd7'", "moments 'gone with it'", "w.db.damaged-1", f"{self.COUNT} objects"):
            self.assertIn(words, text)
        connection = sqlite3.connect(f"{self.path}.damaged-1")
        (kept,) = connection.execute("SELECT document FROM domains WHERE name = 'd7'").fetchone()
        connection.close()
        self.assertEqual("<domain>other</domain>", kept)
        self.flushLoggedErrors()

    def test_damaged_pages(self) -> None:
        """Pages of the file are overwritten: what can be reached is served, nothing is taken for intact."""
        size = os.stat(self.path).st_size
        with open(self.path, "r+b") as file:
            for place in range(size // 3, size // 2, 4096):
                file.seek(place)
                file.write(b"\xff" * 64)
        said = self.log()
        store = self.open()
        found = store.rows[DomainRow]
        self.assertGreater(len(found), 5)
        self.assertLess(len(found), self.COUNT)
        for row in found:
            self.assertEqual(domain(row.position), row)
        self.assertEqual(1, len(said))
        store.write([domain(99)], [])
        store.close()
        self.assertIn("d99", self.names(self.open()))
        self.assertEqual(1, len(said))

    def test_no_database(self) -> None:
        """A file that is no database is left as it is; nothing is begun in its place."""
        with open(self.path, "r+b") as file:
            file.write(b"\0" * 4096)
        with self.assertRaisesRegex(StoreError, "put a copy back in its place"):
            Store.open(self.path)
        with open(self.path, "rb") as file:
            self.assertEqual(bytes(4096), file.read(4096))

    def test_text_that_is_none(self) -> None:
        """So is a row whose text is not UTF-8."""
        connection = sqlite3.connect(self.path)
        connection.execute("UPDATE domains SET document = CAST(x'ff41' AS TEXT) WHERE name = 'd9'")
        connection.commit()
        connection.close()
        said = self.log()
        self.assertNotIn("d9", self.names(self.open()))
        self.assertIn("domains 'd9'", said[0])

    def test_killed_on_the_way(self) -> None:
        """A rescue that was complete is finished, one that was not is begun anew."""
        with open(f"{self.path}.draft", "wb") as file:
            file.write(b"half")
        self.assertEqual(self.COUNT, len(self.open().rows[DomainRow]))
        self.assertFalse(os.path.exists(f"{self.path}.draft"))

    def test_killed_before_it_was_in_place(self) -> None:
        """The complete file is put in place, and the log of the damaged one does not follow it."""
        other = os.path.join(self.folder, "other.db")
        Store.create(other, [domain(3)]).close()
        os.rename(other, f"{self.path}.rescued")
        with open(f"{self.path}-wal", "wb") as file:
            file.write(b"of the damaged one")
        self.assertTrue(Store.exists(self.path))
        self.assertEqual(["d3"], self.names(self.open()))

    def test_a_log_without_its_file(self) -> None:
        """The log of a file that somebody removed is set aside, and does not follow a new one."""
        store = self.open()
        store.write([domain(99)], [])
        shutil.copy(f"{self.path}-wal", f"{self.folder}/log")
        store.close()
        os.unlink(self.path)
        os.rename(f"{self.folder}/log", f"{self.path}-wal")
        self.assertEqual([domain(1)], self.create(domain(1)).rows[DomainRow])
        self.assertTrue(os.path.exists(f"{self.path}-wal.left"))

    def test_keys(self) -> None:
        """A row's key is its first columns."""
        self.assertEqual((bytes([7]) * 16, "snapshot", "x"), key_of(snapshot(7, "x")))
