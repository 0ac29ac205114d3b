-- Which record stands for a dead letter: one only, however often the letter is replayed. A row stays when its letter is
-- removed by retention, so that no later copy of the record counts and a rebuild judges as the first time.

CREATE TABLE sg_replays (
    stream TEXT NOT NULL,
    letter_partition INTEGER NOT NULL,
    letter_position INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    is_counted INTEGER NOT NULL,
    replayed_at INTEGER NOT NULL,
    PRIMARY KEY (stream, letter_partition, letter_position)
) STRICT, WITHOUT ROWID;

-- The letter that a dead letter's record was to mend, in vain.
ALTER TABLE sg_dead_letters ADD COLUMN replay_of_partition INTEGER;
ALTER TABLE sg_dead_letters ADD COLUMN replay_of_position INTEGER;

CREATE INDEX sg_dead_letters_by_reason ON sg_dead_letters (stream, reason, replayed_at, replay_of_partition);
CREATE INDEX sg_dead_letters_by_original ON sg_dead_letters (stream, replay_of_partition, replay_of_position)
    WHERE replay_of_partition IS NOT NULL;
