-- The first schema. docs/design/0002-on-disk-format.md explains it.
-- Times are seconds since 1970. Identities are digests: no token is ever stored.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What the Hub said ---------------------------------------------------------------------------------------------

CREATE TABLE repos (
    id       INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    repo     TEXT NOT NULL,              -- org/name, datasets/org/name
    private  INTEGER NOT NULL,           -- its names are for granted identities only
    gated    INTEGER NOT NULL,           -- its contents are for granted identities only
    UNIQUE (endpoint, repo)
) STRICT;

-- A branch or tag, pinned to a commit when it was resolved.
CREATE TABLE revisions (
    repo_id     INTEGER NOT NULL REFERENCES repos,
    identity    BLOB NOT NULL,
    revision    TEXT NOT NULL,
    commit_hash BLOB NOT NULL,
    resolved_at INTEGER NOT NULL,
    PRIMARY KEY (repo_id, identity, revision)
) STRICT, WITHOUT ROWID;

-- The Hub let this identity see the repository's names, or read its contents.
CREATE TABLE grants (
    repo_id    INTEGER NOT NULL REFERENCES repos,
    identity   BLOB NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('names', 'contents')),
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (repo_id, identity, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    id          INTEGER PRIMARY KEY,
    repo_id     INTEGER NOT NULL REFERENCES repos,
    commit_hash BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    listed_at   INTEGER NOT NULL,
    UNIQUE (repo_id, commit_hash)
) STRICT;

CREATE TABLE files (
    snapshot_id INTEGER NOT NULL REFERENCES snapshots,
    path        TEXT NOT NULL,
    blob_id     INTEGER NOT NULL REFERENCES blobs,
    PRIMARY KEY (snapshot_id, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_blob ON files (blob_id);

-- What is on this disk ------------------------------------------------------------------------------------------

CREATE TABLE blobs (
    id        INTEGER PRIMARY KEY,
    name      TEXT NOT NULL,             -- sha256:0123…, git-sha1:0123…
    size      INTEGER NOT NULL,          -- part of the key: a listing that lies about it spoils no other
    sha256    BLOB,                      -- known once the blob is sealed
    sealed_at INTEGER,                   -- complete and equal to what its origin states
    UNIQUE (name, size)
) STRICT;

-- Which blocks are present, 64 to a row, each with its checksum: a row is one step of coverage and proof together.
CREATE TABLE blocks (
    blob_id INTEGER NOT NULL REFERENCES blobs,
    chunk   INTEGER NOT NULL,            -- blocks 64*chunk .. 64*chunk + 63
    present INTEGER NOT NULL,            -- bit n: block 64*chunk + n is on disk
    sums    BLOB NOT NULL,               -- 64 XXH3-128 checksums of 16 bytes, big endian
    bytes   INTEGER NOT NULL,            -- what the present blocks hold; the last block of a blob may be short
    PRIMARY KEY (blob_id, chunk)
) STRICT, WITHOUT ROWID;

CREATE VIEW blob_coverage AS
    SELECT blob_id, sum(bytes) AS cached_bytes FROM blocks GROUP BY blob_id;

-- What the kernel knows -----------------------------------------------------------------------------------------

CREATE TABLE views (
    id        INTEGER PRIMARY KEY,
    directory TEXT NOT NULL UNIQUE       -- where it is mounted
) STRICT;

-- A node id means this path for the life of one mount. AUTOINCREMENT: an id never comes again.
CREATE TABLE nodes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    view_id INTEGER NOT NULL REFERENCES views,
    path    TEXT NOT NULL,
    UNIQUE (view_id, path)
) STRICT;
