-- The outbox also holds events, for topics: late ones and dead letters. A row that one topic refuses moves to the lane
-- of that topic; the lane '' holds the others, whose ids follow each other without a hole.

ALTER TABLE sg_outbox RENAME TO sg_outbox_before;

CREATE TABLE sg_outbox (
    stream TEXT NOT NULL,
    lane TEXT NOT NULL,
    id INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('closed', 'corrected', 'late', 'dead_letter')),
    rollup TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    dimensions TEXT NOT NULL,
    revision INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    PRIMARY KEY (stream, lane, id)
) STRICT, WITHOUT ROWID;

INSERT INTO sg_outbox
SELECT stream, '', id, kind, rollup, window_start, dimensions, revision, CAST(strftime('%s', 'now') AS INTEGER) * 1000
FROM sg_outbox_before;

DROP TABLE sg_outbox_before;

-- The events of late rows and dead letters: copies, so that retention need not wait for a broker.
CREATE TABLE sg_outbox_events (
    stream TEXT NOT NULL,
    lane TEXT NOT NULL,
    id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    key BLOB,
    event_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    raw BLOB NOT NULL,
    PRIMARY KEY (stream, lane, id)
) STRICT;
