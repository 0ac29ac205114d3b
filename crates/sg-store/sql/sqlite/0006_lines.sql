-- Lines for files of the archive: windows as they were when they became final, or changed after, and late events. They
-- wait in lanes by stream and kind, whose ids follow each other without a hole.

CREATE TABLE sg_outbox_lines (
    stream TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('closed', 'late')),
    id INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (stream, kind, id)
) STRICT;

-- The id of the newest line of each lane.
ALTER TABLE sg_streams ADD COLUMN closed_last INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sg_streams ADD COLUMN late_last INTEGER NOT NULL DEFAULT 0;

-- What a file holds: raw, closed or late. Only raw ones have a partition and offsets.
ALTER TABLE sg_archive_intents ADD COLUMN kind TEXT NOT NULL DEFAULT 'raw';
ALTER TABLE sg_archive_files ADD COLUMN kind TEXT NOT NULL DEFAULT 'raw';

-- Late events are kept by stream.
CREATE INDEX sg_late_by_rollup ON sg_late (rollup, id);
