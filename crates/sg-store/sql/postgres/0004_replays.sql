-- Which record stands for a dead letter: one only, however often the letter is replayed. A row stays when its letter is
-- removed by retention, so that no later copy of the record counts and a rebuild judges as the first time.

CREATE TABLE sg_replays (
    stream text COLLATE "C" NOT NULL,
    letter_partition bigint NOT NULL,
    letter_position bigint NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    is_counted boolean NOT NULL,
    replayed_at timestamptz NOT NULL,
    PRIMARY KEY (stream, letter_partition, letter_position)
);

-- The letter that a dead letter's record was to mend, in vain.
ALTER TABLE sg_dead_letters ADD COLUMN replay_of_partition bigint;
ALTER TABLE sg_dead_letters ADD COLUMN replay_of_position bigint;

CREATE INDEX sg_dead_letters_by_reason ON sg_dead_letters (stream, reason, replayed_at, replay_of_partition);
CREATE INDEX sg_dead_letters_by_original ON sg_dead_letters (stream, replay_of_partition, replay_of_position)
    WHERE replay_of_partition IS NOT NULL;
