-- Who offers what to other machines' engines, as they said themselves: for the network service. Times are milliseconds.
CREATE TABLE sources (
    source_id   TEXT NOT NULL,           -- of all who offer the same
    worker_id   TEXT NOT NULL,
    worker_rank INTEGER NOT NULL,
    model_name  TEXT NOT NULL,
    status      INTEGER NOT NULL,
    load        REAL,                    -- how busy it says it is
    updated_at  INTEGER NOT NULL,
    identity    BLOB NOT NULL,           -- both as they came
    worker      BLOB NOT NULL,
    PRIMARY KEY (source_id, worker_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sources_by_age ON sources (updated_at);
