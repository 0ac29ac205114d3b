-- What the archive holds, how far it has come, and where a rebuild may begin.

CREATE TABLE sg_archive_positions (
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    log_identity TEXT NOT NULL,
    first_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    -- No range that begins before is complete.
    removed_to INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    PRIMARY KEY (stream, partition)
) STRICT, WITHOUT ROWID;

-- Files that are about to be written, or to be deleted: a doomed one can not come into the manifest any more.
CREATE TABLE sg_archive_intents (
    place TEXT NOT NULL,
    path TEXT NOT NULL,
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    intended_at INTEGER NOT NULL,
    doomed_at INTEGER,
    PRIMARY KEY (place, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE sg_archive_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    place TEXT NOT NULL,
    path TEXT NOT NULL,
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    from_offset INTEGER NOT NULL,
    to_offset INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (place, path)
) STRICT;

CREATE INDEX sg_archive_files_by_offset ON sg_archive_files (stream, partition, to_offset);
CREATE INDEX sg_archive_files_by_age ON sg_archive_files (stream, created_at);

CREATE TABLE sg_marks (
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    m INTEGER NOT NULL,
    r INTEGER NOT NULL,
    dedup_from INTEGER NOT NULL,
    dedup_from_r INTEGER NOT NULL,
    PRIMARY KEY (stream, partition, position)
) STRICT, WITHOUT ROWID;
