-- Lines for files of the archive: windows as they were when they became final, or changed after, and late events. They
-- wait in lanes by stream and kind, whose ids follow each other without a hole. The defaults serve processes of the version
-- before, which may still run.

CREATE TABLE sg_outbox_lines (
    stream text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('closed', 'late')),
    id bigint NOT NULL,
    window_start timestamptz NOT NULL,
    written_at timestamptz NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (stream, kind, id)
);

-- The id of the newest line of each lane.
ALTER TABLE sg_streams ADD COLUMN closed_last bigint NOT NULL DEFAULT 0;
ALTER TABLE sg_streams ADD COLUMN late_last bigint NOT NULL DEFAULT 0;

-- What a file holds: raw, closed or late. Only raw ones have a partition and offsets.
ALTER TABLE sg_archive_intents ADD COLUMN kind text COLLATE "C" NOT NULL DEFAULT 'raw';
ALTER TABLE sg_archive_files ADD COLUMN kind text COLLATE "C" NOT NULL DEFAULT 'raw';

-- Late events are kept by stream.
CREATE INDEX sg_late_by_rollup ON sg_late (rollup, id);
