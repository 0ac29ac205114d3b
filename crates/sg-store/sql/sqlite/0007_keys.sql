-- Who may do what. Of a key's text only the SHA-256 is kept.

CREATE TABLE sg_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    origins TEXT NOT NULL,
    events_per_s INTEGER,
    bytes_per_s INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
