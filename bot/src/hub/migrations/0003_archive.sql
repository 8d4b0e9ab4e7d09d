-- Files of the archive. A file is never written again: rows that come late make a new one.

CREATE TABLE archive_files (
    name text PRIMARY KEY,
    hypertable text NOT NULL,
    begins timestamptz NOT NULL,
    ends timestamptz NOT NULL,            -- not included
    rows bigint NOT NULL,
    sums jsonb NOT NULL,                  -- of its amounts, exact
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    database_bytes bigint NOT NULL,       -- of the chunk, before it was dropped
    UNIQUE (hypertable, begins)
);
