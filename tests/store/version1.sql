PRAGMA application_id = 1381389140;
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
PRAGMA user_version = 1;
