-- Events deleted by hand: they were counted once, and no rebuild counts them again.

CREATE TABLE sg_tombstones (
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (stream, partition, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX sg_replays_by_record ON sg_replays (stream, partition, position);
