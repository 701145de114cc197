"""A damaged store: what is intact of it moves to a new file, and the damaged one is kept.

::

    NAME.db            the damaged file      -> also NAME.db.damaged-1, as it was, with its -wal file
    NAME.db.draft      being written         -> NAME.db.rescued once it is complete -> NAME.db

A daemon that is killed on the way finds either a draft, which is thrown away, or a complete file, which is
put in its place. Rows are read one by one, from both ends of a table and then singly in between, as far as
SQLite can reach them; a row is intact if its digest says so, and if what it belongs to is intact.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, Final

from remotevirt.store.rows import KINDS, digest_of, key_of
from remotevirt.store.schema import migrate

__all__ = ["Damaged", "create", "finish_rescue", "rescue"]

MAX_PROBES: Final = 100_000
"""Rows that are looked for singly where a table cannot be walked through."""

MAX_NAMED: Final = 20
"""Rows that a report names one by one."""


class Damaged(Exception):
    """A store is not as it was written; the text says what was found first."""


def finish_rescue(path: str) -> None:
    """Put the complete file of an earlier rescue in its place, and throw away an incomplete one.

    Raises:
        OSError: it cannot be done.
    """
    _unlink(f"{path}.draft", f"{path}.draft-wal", f"{path}.draft-journal")
    if os.path.exists(f"{path}.rescued"):
        _unlink(f"{path}-wal")
        os.replace(f"{path}.rescued", path)
        _sync(os.path.dirname(path) or ".")


def rescue(path: str, damage: Damaged) -> str:
    """Make a store of what is intact, and keep the damaged file beside it.

    Args:
        path: the store, which nobody has open.
        damage: what was found.

    Returns:
        A report for the operator.

    Raises:
        sqlite3.Error, OSError: it cannot be read at all, or the new file cannot be written.
        Damaged: nothing can be read, not even the names of its tables.
    """
    kept = _free_name(path)
    # copies, not links: SQLite puts the log into the file when the last connection closes
    for suffix in ("-wal", ""):
        _copy(path + suffix, kept + suffix)
    try:
        intact, lost = _read(path)
        create(path, intact, f"{path}.rescued")
    except BaseException:
        _unlink(kept, f"{kept}-wal")  # nothing has come of it, and the file is where it was
        raise
    finish_rescue(path)
    count = sum(len(rows) for rows in intact.values())
    named = "; ".join(lost[:MAX_NAMED]) + ("; ..." if len(lost) > MAX_NAMED else "")
    return (
        f"{path} was damaged ({damage}). {count} objects are intact and served. Not readable: "
        f"{named or 'nothing that is known of'}. The damaged file is kept as {kept}: compare it with an "
        "older copy, or ask the sqlite3 tool for '.recover'"
    )


def create(path: str, rows: dict[Any, list[Any]], name: str) -> None:
    """Make a store with some rows; it has its name only when it is complete and on the disk.

    Args:
        path: the store that it is, or will be.
        rows: by kind, owners before what they own.
        name: what the file is called in the end.

    Raises:
        sqlite3.Error, OSError: it cannot be written.
    """
    draft = f"{path}.draft"
    _unlink(draft)
    _write(draft, rows)
    os.replace(draft, name)
    _sync(os.path.dirname(path) or ".")


def _read(path: str) -> tuple[dict[Any, list[Any]], list[str]]:
    """Return the intact rows by kind, and what was lost in words."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            migrate(connection, path)
        except sqlite3.DatabaseError as error:
            raise Damaged(str(error)) from error
        intact: dict[Any, list[Any]] = {}
        lost: list[str] = []
        for kind in KINDS:
            owners = {key_of(row) for row in intact[kind.OWNER]} if kind.OWNER else set()
            rows = intact[kind] = []
            for place, found in _walk(connection, kind):
                row = None if found is None else _checked(kind, found)
                if row is None or (kind.OWNER and tuple(row[:1]) not in owners):
                    lost.append(f"{kind.TABLE} {_name(kind, place, found)}")
                else:
                    rows.append(row)
            rows.sort(key=lambda row: row.position)
        return intact, lost
    finally:
        connection.close()


def _walk(connection: sqlite3.Connection, kind: Any) -> Iterator[tuple[int, tuple[Any, ...] | None]]:
    """Find the rows of a table: number, and values with the digest; None for a row that cannot be read."""
    query = f"SELECT rowid, {', '.join(kind._fields)}, digest FROM {kind.TABLE} NOT INDEXED"
    seen: set[int] = set()
    ends: list[int] = []
    for direction in ("ASC", "DESC"):
        last = 0
        try:
            with closing(connection.execute(f"{query} ORDER BY rowid {direction}")) as found:
                for number, *values in found:
                    last = number
                    if number not in seen:
                        seen.add(number)
                        yield number, tuple(values)
        except sqlite3.Error:
            ends.append(last)
            continue
        return
    if not seen:
        yield 0, None
        return
    low, high = ends[0] + 1, ends[1] or ends[0] + MAX_PROBES
    for number in range(low, min(high, low + MAX_PROBES)):
        try:
            single = connection.execute(f"{query} WHERE rowid = ?", (number,)).fetchall()
        except sqlite3.Error:
            yield number, None
            continue
        for _, *values in single:
            if number not in seen:
                yield number, tuple(values)


def _checked(kind: Any, found: tuple[Any, ...]) -> Any | None:
    """Return a row, None if it is not as it was written."""
    *values, digest = found
    try:
        return kind(*values) if digest_of(values) == digest else None
    except (UnicodeEncodeError, ValueError):
        return None


def _name(kind: Any, place: int, found: tuple[Any, ...] | None) -> str:
    """Return what to call a row that is lost."""
    if found is None:
        return f"row {place}"
    words = dict(zip(kind._fields, found, strict=False))
    name = words.get("name")
    return repr(name[:100]) if isinstance(name, str) else f"row {place}"


def _write(path: str, rows: dict[Any, list[Any]]) -> None:
    """Write a complete store, on the disk when this returns."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        for kind, found in rows.items():
            columns = (*kind._fields, "digest")
            statement = (
                f"INSERT INTO {kind.TABLE} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            )
            connection.executemany(statement, [(*row, digest_of(row)) for row in found])
        connection.execute("COMMIT")
    finally:
        connection.close()


def _free_name(path: str) -> str:
    """Return a name for the damaged file that is not taken."""
    number = 1
    while os.path.exists(f"{path}.damaged-{number}"):
        number += 1
    return f"{path}.damaged-{number}"


def _copy(path: str, copy: str) -> None:
    """Copy a file, if it is there; the copy is on the disk, and whole, before it has its name."""
    if not os.path.exists(path):
        return
    draft = f"{copy}.draft"
    _unlink(draft)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(path, "rb") as source, os.fdopen(descriptor, "wb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    os.replace(draft, copy)


def _unlink(*paths: str) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
