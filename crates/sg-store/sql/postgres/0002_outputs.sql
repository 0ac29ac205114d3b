-- The outbox also holds events, for topics: late ones and dead letters. A row that one topic refuses moves to the lane
-- of that topic; the lane '' holds the others, whose ids follow each other without a hole. The defaults serve processes
-- of the version before, which may still run.

ALTER TABLE sg_outbox
    DROP CONSTRAINT sg_outbox_kind_check,
    DROP CONSTRAINT sg_outbox_pkey,
    ADD COLUMN lane text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN written_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    ADD CHECK (kind IN ('closed', 'corrected', 'late', 'dead_letter')),
    ADD PRIMARY KEY (stream, lane, id);

-- The events of late rows and dead letters: copies, so that retention need not wait for a broker.
CREATE TABLE sg_outbox_events (
    stream text COLLATE "C" NOT NULL,
    lane text COLLATE "C" NOT NULL,
    id bigint NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    key bytea,
    event_id text NOT NULL,
    received_at timestamptz NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (stream, lane, id)
);
