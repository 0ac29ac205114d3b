-- Offsets whose records an embedded log has lost and was told to go on without: with what was processed, they are all offsets.
ALTER TABLE sg_partitions ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sg_marks ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;
