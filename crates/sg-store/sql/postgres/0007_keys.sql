-- Who may do what. Of a key's text only the SHA-256 is kept.

CREATE TABLE sg_keys (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text NOT NULL,
    origins text NOT NULL,
    events_per_s bigint,
    bytes_per_s bigint,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
