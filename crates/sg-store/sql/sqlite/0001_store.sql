-- What the store keeps beside the cells and raw rows, whose tables are made from the definitions.
-- Times are milliseconds since 1970; the smallest integer stands for "never".

CREATE TABLE sg_syncs (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    syncs INTEGER NOT NULL
) STRICT;

INSERT INTO sg_syncs VALUES (1, 0);

CREATE TABLE sg_streams (
    stream TEXT PRIMARY KEY,
    watermark INTEGER NOT NULL,
    outbox_last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sg_partitions (
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    log_identity TEXT NOT NULL,
    definitions TEXT NOT NULL,
    first_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    m INTEGER NOT NULL,
    r INTEGER NOT NULL,
    dedup_from INTEGER NOT NULL,
    dedup_from_r INTEGER NOT NULL,
    is_idle INTEGER NOT NULL,
    said_at INTEGER NOT NULL,
    processed INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    id_conflict INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (stream, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE sg_rollups (
    rollup TEXT PRIMARY KEY,
    stream TEXT NOT NULL,
    definition TEXT NOT NULL,
    closed_to INTEGER NOT NULL,
    -- Windows that start earlier have been announced; of the one that starts here, the dimensions up to announced_key.
    announced_from INTEGER NOT NULL,
    announced_key TEXT,
    removed_before INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    complete_from INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE sg_rollup_partitions (
    rollup TEXT NOT NULL,
    partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    fed_to INTEGER NOT NULL,
    folded INTEGER NOT NULL,
    diverted INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    unfit INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (rollup, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE sg_dead_letters (
    id INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    reason TEXT NOT NULL,
    field TEXT NOT NULL,
    detail TEXT NOT NULL,
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    replayed_at INTEGER,
    raw BLOB NOT NULL,
    UNIQUE (stream, partition, position)
) STRICT;

CREATE INDEX sg_dead_letters_by_event ON sg_dead_letters (event_id);
CREATE INDEX sg_dead_letters_by_age ON sg_dead_letters (stream, stored_at);

CREATE TABLE sg_late (
    id INTEGER PRIMARY KEY,
    rollup TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    dimensions TEXT NOT NULL,
    raw BLOB NOT NULL
) STRICT;

CREATE TABLE sg_outbox (
    stream TEXT NOT NULL,
    id INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('closed', 'corrected')),
    rollup TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    dimensions TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (stream, id)
) STRICT, WITHOUT ROWID;
