-- Events deleted by hand are found by their id, and their late rows by their place.

CREATE INDEX sg_tombstones_by_event ON sg_tombstones (event_id);
CREATE INDEX sg_late_by_record ON sg_late (rollup, partition, position);
