"""One store: an SQLite file that one process has open, and whose transactions are on the disk when they end.

::

    BEGIN IMMEDIATE, rows, COMMIT  ->  pages at the end of the -wal file, fdatasync  ->  write() returns
    more than CHECKPOINT_BYTES there  ->  fdatasync, pages into the file, fdatasync, -wal file emptied

SQLite's write-ahead log with ``synchronous=FULL``: a transaction is in the log and the log on the disk before
``COMMIT`` returns, and whatever is cut off in the middle is not there when the file is opened again. The lock
is exclusive and the kernel's: it ends with the process, however that ends.

What fails leaves the file as before. Where a disk is full, the next call may succeed. Where ``fsync`` has
failed, nobody knows what is on the disk, and asking again would be answered with a success that means
nothing: the store takes no more changes until the daemon is started anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger

from remotevirt.store.errors import StoreBusy, StoreError
from remotevirt.store.rescue import Damaged, create, finish_rescue, rescue
from remotevirt.store.rows import KINDS, digest_of
from remotevirt.store.schema import migrate

__all__ = ["CHECKPOINT_BYTES", "Store"]

CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
"""How long the log may get before its pages go into the file; SQLite's own default is a thousand pages."""

SETTINGS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA wal_autocheckpoint = 0",  # we do it, so that its errors are not dropped
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)

UNCERTAIN: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Errors after which nobody knows what is on the disk; extended codes, or primary ones."""

log = Logger()


def _statements(kind: Any) -> tuple[str, str]:
    """Return the statements that put a row of a kind, and that drop one."""
    columns = (*kind._fields, "digest")
    keys = columns[: kind.KEYS]
    values = ", ".join("?" * len(columns))
    update = ", ".join(f"{name} = excluded.{name}" for name in columns[kind.KEYS :])
    put = (
        f"INSERT INTO {kind.TABLE} ({', '.join(columns)}) VALUES ({values})"
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {update}"
    )
    drop = f"DELETE FROM {kind.TABLE} WHERE {' AND '.join(f'{name} = ?' for name in keys)}"
    return put, drop


PUT: Final = {kind: _statements(kind)[0] for kind in KINDS}
DROP: Final = {kind: _statements(kind)[1] for kind in KINDS}


class Store:
    """An open store.

    Attributes:
        path: the file.
        rows: by kind, what it held when it was opened, in order of position. Whoever takes them may clear it.
        checkpoint_bytes: see :data:`CHECKPOINT_BYTES`.
        checkpoints: how often the log was emptied.
    """

    __slots__ = ("_connection", "_failed", "checkpoint_bytes", "checkpoints", "path", "rows")

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self.rows: dict[Any, list[Any]] = {}
        self.checkpoint_bytes = CHECKPOINT_BYTES
        self.checkpoints = 0
        self._connection = connection
        self._failed: str | None = None

    @staticmethod
    def exists(path: str) -> bool:
        """Return whether there is a store, or one that only has to be put in its place."""
        return os.path.exists(path) or os.path.exists(f"{path}.rescued")

    @classmethod
    def create(cls, path: str, rows: Iterable[Any]) -> Store:
        """Make a store with some rows: either it is there with all of them, or not at all.

        Raises:
            StoreError: it cannot be made.
        """
        by_kind: dict[Any, list[Any]] = {kind: [] for kind in KINDS}
        for row in rows:
            by_kind[type(row)].append(row)
        try:
            if os.path.exists(f"{path}-wal"):
                # of a file that somebody removed; SQLite would take it for the log of the new one
                os.replace(f"{path}-wal", f"{path}-wal.left")
                log.warn("{path} is made; the log of an earlier one is now {path}-wal.left", path=path)
            create(path, by_kind, path)
        except (sqlite3.Error, OSError) as error:
            raise _unusable(path, error) from error
        return cls.open(path)

    @classmethod
    def open(cls, path: str) -> Store:
        """Open a store.

        What is damaged is left out: the intact rows move to a new file, the damaged file is kept beside it,
        and the log says what is missing.

        Raises:
            StoreError: it is in use, is no store, or cannot be read at all.
        """
        try:
            finish_rescue(path)
            try:
                return cls._open(path)
            except Damaged as damaged:
                log.critical("{text}", text=rescue(path, damaged))
                return cls._open(path)
        except (sqlite3.Error, OSError, Damaged) as error:
            raise _unusable(path, error) from error

    @classmethod
    def _open(cls, path: str) -> Store:
        """Open a file that is in order.

        Raises:
            Damaged: it is not.
        """
        connection = connect(path)
        try:
            migrate(connection, path)
            store = cls(path, connection)
            store._load()
            store._tidy(0)
        except sqlite3.DatabaseError as error:
            connection.close()
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            # a text that is not UTF-8 has no code of SQLite's
            if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
                raise Damaged(str(error)) from error
            raise
        except BaseException:
            connection.close()
            raise
        return store

    def _load(self) -> None:
        """Read all rows.

        Raises:
            Damaged: the file, or a row, is not as it was written.
        """
        execute = self._connection.execute
        ((verdict, *_), *_) = execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise Damaged(verdict)
        for kind in KINDS:
            found = execute(f"SELECT {', '.join(kind._fields)}, digest FROM {kind.TABLE} ORDER BY position")
            rows = self.rows[kind] = []
            with closing(found):  # one that is left open would keep the file's lock
                for *values, digest in found:
                    if digest_of(values) != digest:
                        raise Damaged(f"a row of {kind.TABLE} is not as it was written")
                    rows.append(kind(*values))
        if execute("PRAGMA foreign_key_check").fetchall():
            raise Damaged("rows belong to others that are not there")

    def write(self, puts: Iterable[Any], drops: Iterable[tuple[Any, tuple[Any, ...]]]) -> None:
        """Put rows, and drop others, all or none; on the disk when this returns.

        Args:
            puts: rows, new or in place of those with their keys; owners before what they own.
            drops: kinds and keys of rows that go, before the others come; what they own goes with them.

        Raises:
            StoreError: nothing of it was kept.
        """
        if self._failed is not None:
            raise StoreError(self._failed)
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for kind, key in drops:
                execute(DROP[kind], key)
            for row in puts:
                execute(PUT[type(row)], (*row, digest_of(row)))
            execute("COMMIT")
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise self._refuse(error) from error
        self._tidy(self.checkpoint_bytes)

    def _refuse(self, error: Exception) -> StoreError:
        """Undo a transaction that failed; return what to raise."""
        text = f"{self.path}: {error}"
        code = getattr(error, "sqlite_errorcode", 0)
        uncertain = code in UNCERTAIN or code & 0xFF in UNCERTAIN
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            uncertain = True
        if uncertain:
            self._give_up(text)
        log.error("a change was not kept: {text}", text=text)
        return StoreError(text if self._failed is None else self._failed)

    def _give_up(self, text: str) -> None:
        """Take no more changes."""
        self._failed = f"{text}; nothing can be changed until the daemon is started anew"
        log.critical("{text}", text=self._failed)

    def _tidy(self, limit: int) -> None:
        """Empty the log if it is longer than ``limit``; what was committed is safe even if this fails."""
        try:
            size = os.stat(f"{self.path}-wal").st_size
        except FileNotFoundError:
            return
        if size <= limit:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.checkpoints += 1
        except sqlite3.Error as error:
            text = f"{self.path}: the log cannot be written into the file: {error}"
            if getattr(error, "sqlite_errorcode", 0) in UNCERTAIN:
                self._give_up(text)
            else:
                log.error("{text}", text=text)

    def close(self) -> None:
        """Close the file; safe to call again."""
        self._failed = f"{self.path} is closed"
        self._connection.close()


def connect(path: str) -> sqlite3.Connection:
    """Return a connection with our settings and the lock.

    Raises:
        sqlite3.Error, OSError: it cannot be had.
    """
    # a file that is not there is not made: it was moved away meanwhile, and nobody wants an empty one
    uri = f"{Path(path).absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
    try:
        for setting in SETTINGS:
            connection.execute(setting)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _unusable(path: str, error: Exception) -> StoreError:
    """Return the error for a file that cannot be opened, with what can be done."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"{path} is in use by another process")
    if code == sqlite3.SQLITE_NOTADB or isinstance(error, Damaged):
        advice = "put a copy back in its place, or move it away to begin with an empty one"
        return StoreError(f"{path} cannot be read ({error}): {advice}")
    return StoreError(f"{path}: {error}")
