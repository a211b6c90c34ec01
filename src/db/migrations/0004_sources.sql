-- Who offers what to other machines' engines, as they said themselves: for the network service. Times are milliseconds.
CREATE TABLE sources (
    source_id   TEXT NOT NULL,           -- of all who offer the same
    worker_id   TEXT NOT NULL,
    worker_rank INTEGER NOT NULL,
    model_name  TEXT NOT NULL,
    status      INTEGER NOT NULL,
    load        REAL,                    -- how busy it says it is
    updated_at  INTEGER NOT NULL,
    identity    BLOB NOT NULL,           -- as it came
    summary     BLOB NOT NULL,           -- what lists tell of the worker
    worker      BLOB NOT NULL,           -- as it came: megabytes
    PRIMARY KEY (source_id, worker_id)
) STRICT;
CREATE INDEX sources_by_age ON sources (updated_at);
