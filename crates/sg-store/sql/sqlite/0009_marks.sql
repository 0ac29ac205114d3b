-- A mark says what became of the records before it, so that a rebuild that begins there is held to the ledger. Marks
-- without that would be believed unseen.
DELETE FROM sg_marks;
ALTER TABLE sg_marks ADD COLUMN processed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN duplicate INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN id_conflict INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN dead_lettered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;

-- What is remembered of a dead letter that retention has removed, for as long as its record can be read: that no rebuild
-- counts it.
CREATE TABLE sg_removed_letters (
    stream TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (stream, partition, position)
) STRICT, WITHOUT ROWID;
