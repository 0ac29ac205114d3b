-- What the store keeps beside the cells and raw rows, whose tables are made from the definitions.
-- '-infinity' stands for "never". Texts compare bytewise, as they do in the program and in SQLite. Rows that every
-- flush changes have room beside them, so that a change touches no index.

CREATE TABLE sg_syncs (
    one integer PRIMARY KEY CHECK (one = 1),
    syncs bigint NOT NULL
) WITH (fillfactor = 20);

INSERT INTO sg_syncs VALUES (1, 0);

-- The row of a stream is the last lock that a flush or refresh takes: it orders how windows close.
CREATE TABLE sg_streams (
    stream text COLLATE "C" PRIMARY KEY,
    watermark timestamptz NOT NULL,
    outbox_last bigint NOT NULL
) WITH (fillfactor = 20);

-- The row of a partition is the first.
CREATE TABLE sg_partitions (
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    log_identity text NOT NULL,
    definitions text NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    m timestamptz NOT NULL,
    r timestamptz NOT NULL,
    dedup_from bigint NOT NULL,
    dedup_from_r timestamptz NOT NULL,
    is_idle boolean NOT NULL,
    said_at timestamptz NOT NULL,
    processed bigint NOT NULL,
    counted bigint NOT NULL,
    duplicate bigint NOT NULL,
    id_conflict bigint NOT NULL,
    dead_lettered bigint NOT NULL,
    deleted bigint NOT NULL,
    PRIMARY KEY (stream, partition)
) WITH (fillfactor = 20);

CREATE TABLE sg_rollups (
    rollup text COLLATE "C" PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    definition text NOT NULL,
    closed_to timestamptz NOT NULL,
    -- Windows that start earlier have been announced; of the one that starts here, the dimensions up to announced_key.
    announced_from timestamptz NOT NULL,
    announced_key text,
    removed_before timestamptz NOT NULL,
    removed bigint NOT NULL,
    complete_from timestamptz
) WITH (fillfactor = 20);

CREATE TABLE sg_rollup_partitions (
    rollup text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    first_offset bigint NOT NULL,
    fed_to bigint NOT NULL,
    folded bigint NOT NULL,
    diverted bigint NOT NULL,
    expired bigint NOT NULL,
    unfit bigint NOT NULL,
    deleted bigint NOT NULL,
    PRIMARY KEY (rollup, partition)
) WITH (fillfactor = 20);

-- The tables that hold the raw rows of one partition each, a bounded run of offsets in each.
CREATE TABLE sg_raw_pieces (
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    piece bigint NOT NULL,
    -- The least and the largest received_at in it.
    oldest timestamptz NOT NULL,
    newest timestamptz NOT NULL,
    -- Whether it has the indexes that a piece gets only when nothing more is written to it.
    is_sealed boolean NOT NULL,
    PRIMARY KEY (stream, partition, piece)
) WITH (fillfactor = 20);

CREATE TABLE sg_dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    field text NOT NULL,
    detail text NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_type text NOT NULL,
    received_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL,
    replayed_at timestamptz,
    raw bytea NOT NULL,
    UNIQUE (stream, partition, position)
);

CREATE INDEX sg_dead_letters_by_event ON sg_dead_letters USING hash (event_id);
CREATE INDEX sg_dead_letters_by_age ON sg_dead_letters (stream, stored_at);

CREATE TABLE sg_late (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollup text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    event_time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL,
    window_start timestamptz NOT NULL,
    dimensions text NOT NULL,
    raw bytea NOT NULL
);

CREATE TABLE sg_outbox (
    stream text COLLATE "C" NOT NULL,
    id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('closed', 'corrected')),
    rollup text NOT NULL,
    window_start timestamptz NOT NULL,
    dimensions text NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (stream, id)
);

-- The select behind each view as it was made, so that a start that changes nothing locks nothing.
CREATE TABLE sg_views (
    view text COLLATE "C" PRIMARY KEY,
    definition text NOT NULL
);

-- The start of the window that a pane belongs to. Windows are aligned to 1970 in UTC, whatever the session's zone:
-- an interval without days or months moves a time by its length.
CREATE FUNCTION sg_window_start(pane timestamptz, window_ms bigint) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pane - (((round(extract(epoch FROM pane) * 1000)::bigint % window_ms) + window_ms) % window_ms)
        * interval '1 millisecond'
$$;

-- sum / count, rounded half to even; NULL of nothing. `unit` is one in the last digit kept, `power` its inverse.
-- All of it in whole numbers, so that no digit is lost.
CREATE FUNCTION sg_average(sum numeric, count numeric, power numeric, unit numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN count <> 0 THEN
        unit * (quotient + CASE
            WHEN 2 * abs(rest) > count OR (2 * abs(rest) = count AND quotient % 2 <> 0) THEN sign(rest)
            ELSE 0
        END)
    END
    FROM (SELECT div(scaled, nullif(count, 0)) AS quotient, scaled % nullif(count, 0) AS rest
        FROM (SELECT trunc(sum * power) AS scaled) AS whole) AS parts
$$;
