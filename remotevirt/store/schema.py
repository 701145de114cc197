"""The tables of a store, and how an older file becomes one of today.

A file says in SQLite's ``user_version`` which version of the schema it has, and in ``application_id`` that it
is one of ours. Version 0 is an empty file. :data:`STEPS` holds, for each version, what leads to the next;
opening a file takes all steps that it has not taken, each in a transaction. A step that was released is never
changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from remotevirt.store.errors import StoreError
from remotevirt.store.rows import digest_of

__all__ = ["APPLICATION_ID", "STEPS", "VERSION", "migrate"]

APPLICATION_ID: Final = 0x52565354
"""What SQLite's header says of our files: ``RVST``."""

FIRST: Final = """\
CREATE TABLE domains (
    uuid BLOB PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    current_memory INTEGER NOT NULL,
    vcpus INTEGER NOT NULL,
    autostart INTEGER NOT NULL,
    managed_save INTEGER NOT NULL,
    snapshot TEXT,
    checkpoint TEXT,
    digest BLOB NOT NULL
);
CREATE TABLE moments (
    domain BLOB NOT NULL REFERENCES domains (uuid) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    parent TEXT,
    created INTEGER NOT NULL,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    guest_size INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (domain, kind, name)
);
CREATE TABLE networks (
    uuid BLOB PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    autostart INTEGER NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE pools (
    uuid BLOB PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    autostart INTEGER NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE volumes (
    pool BLOB NOT NULL REFERENCES pools (uuid) ON DELETE CASCADE,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    path TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (pool, name)
);
CREATE TABLE interfaces (
    name TEXT PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB NOT NULL
);
CREATE TABLE devices (
    name TEXT PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB NOT NULL
);
"""


def _first(connection: sqlite3.Connection) -> None:
    """Make the tables of version 1."""
    for statement in FIRST.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _allocation(connection: sqlite3.Connection) -> None:
    """Version 2: what a pool said last of its allocation; -1 for what its volumes have together."""
    connection.execute("ALTER TABLE pools ADD COLUMN allocation INTEGER NOT NULL DEFAULT -1")
    columns = "uuid, position, name, document, size, autostart"
    for *values, digest in connection.execute(f"SELECT {columns}, digest FROM pools").fetchall():
        if digest != digest_of(values):
            continue  # it was damaged before, and is found out when it is read
        new = digest_of([*values, -1])
        connection.execute("UPDATE pools SET digest = ? WHERE uuid = ?", (new, values[0]))


GUESTS: Final = """\
CREATE TABLE guests (
    uuid BLOB PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    id INTEGER NOT NULL,
    state INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    process TEXT NOT NULL,
    details TEXT NOT NULL,
    digest BLOB NOT NULL
)
"""


def _guests(connection: sqlite3.Connection) -> None:
    """Version 3: domains that run in processes of their own, which outlive the daemon."""
    connection.execute(GUESTS)


SECRETS: Final = """\
CREATE TABLE secrets (
    uuid BLOB PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    usage_type INTEGER NOT NULL,
    usage_id TEXT,
    document TEXT NOT NULL,
    size INTEGER NOT NULL,
    value BLOB,
    digest BLOB NOT NULL,
    UNIQUE (usage_type, usage_id)
)
"""


def _secrets(connection: sqlite3.Connection) -> None:
    """Version 4: secrets."""
    connection.execute(SECRETS)


OWNERS: Final = """\
CREATE TABLE owners (
    path TEXT PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    digest BLOB NOT NULL
)
"""


def _owners(connection: sqlite3.Connection) -> None:
    """Version 5: files that are to be given back to who had them before a guest."""
    connection.execute(OWNERS)


STEPS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (
    _first,
    _allocation,
    _guests,
    _secrets,
    _owners,
)
"""``STEPS[n]`` leads from version ``n`` to the next."""

VERSION: Final = len(STEPS)
"""The version that this code writes."""


def migrate(connection: sqlite3.Connection, path: str) -> int:
    """Bring a file to the present version, one transaction for each step.

    Args:
        connection: to the file, in autocommit mode.
        path: for errors.

    Returns:
        The version that it had.

    Raises:
        StoreError: it belongs to another program, or to a newer version of this one.
        sqlite3.Error: a step failed; the file is as before it.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (found or tables) and owner != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program")
    if found > VERSION:
        raise StoreError(
            f"{path} was made by a newer remotevirt: its schema is {found}, here {VERSION} is known"
        )
    for version in range(found, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            STEPS[version](connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return int(found)
