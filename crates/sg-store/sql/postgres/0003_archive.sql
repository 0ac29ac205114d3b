-- What the archive holds, how far it has come, and where a rebuild may begin.

CREATE TABLE sg_archive_positions (
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    log_identity text NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    -- No range that begins before is complete.
    removed_to bigint NOT NULL,
    lost bigint NOT NULL,
    PRIMARY KEY (stream, partition)
);

-- Files that are about to be written, or to be deleted: a doomed one can not come into the manifest any more.
CREATE TABLE sg_archive_intents (
    place text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    epoch bigint NOT NULL,
    intended_at timestamptz NOT NULL,
    doomed_at timestamptz,
    PRIMARY KEY (place, path)
);

CREATE TABLE sg_archive_files (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (place, path)
);

CREATE INDEX sg_archive_files_by_offset ON sg_archive_files (stream, partition, to_offset);
CREATE INDEX sg_archive_files_by_age ON sg_archive_files (stream, created_at);

CREATE TABLE sg_marks (
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    m timestamptz NOT NULL,
    r timestamptz NOT NULL,
    dedup_from bigint NOT NULL,
    dedup_from_r timestamptz NOT NULL,
    PRIMARY KEY (stream, partition, position)
);
