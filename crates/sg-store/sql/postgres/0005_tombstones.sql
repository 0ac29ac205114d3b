-- Events deleted by hand: they were counted once, and no rebuild counts them again.

CREATE TABLE sg_tombstones (
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    event_id text NOT NULL,
    deleted_at timestamptz NOT NULL,
    PRIMARY KEY (stream, partition, position)
);

CREATE INDEX sg_replays_by_record ON sg_replays (stream, partition, position);
