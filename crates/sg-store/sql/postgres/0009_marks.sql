-- A mark says what became of the records before it, so that a rebuild that begins there is held to the ledger. Marks
-- without that would be believed unseen.
DELETE FROM sg_marks;
ALTER TABLE sg_marks ADD COLUMN processed bigint NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN counted bigint NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN duplicate bigint NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN id_conflict bigint NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN dead_lettered bigint NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN deleted bigint NOT NULL DEFAULT 0;

-- What is remembered of a dead letter that retention has removed, for as long as its record can be read: that no rebuild
-- counts it.
CREATE TABLE sg_removed_letters (
    stream text COLLATE "C" NOT NULL,
    partition bigint NOT NULL,
    position bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    PRIMARY KEY (stream, partition, position)
);
