-- What it takes to keep a cache for months: what was used when, what must stay, what was proved when and what proved wrong.

ALTER TABLE blobs ADD COLUMN used_at INTEGER;                       -- last opened or read
ALTER TABLE blobs ADD COLUMN proved_at INTEGER;                     -- when the whole content last hashed to its name
ALTER TABLE blobs ADD COLUMN checked_at INTEGER;                    -- when all that is here of it last matched its checksums
ALTER TABLE blobs ADD COLUMN mismatches INTEGER NOT NULL DEFAULT 0; -- whole contents that arrived and were something else

UPDATE blobs SET used_at = unixepoch(); -- nobody knows better

CREATE INDEX blobs_by_sha256 ON blobs (sha256) WHERE sha256 IS NOT NULL;

-- A list is what it was when it came: a checksum over its repository, its commit and its files. NULL: it is older than this.
ALTER TABLE snapshots ADD COLUMN digest BLOB;

-- Models that stay, whatever the limits are: every file of the commits that the revision leads to.
CREATE TABLE keeps (
    repo_id  INTEGER NOT NULL REFERENCES repos,
    revision TEXT NOT NULL,              -- a branch, a tag or a whole commit
    kept_at  INTEGER NOT NULL,
    PRIMARY KEY (repo_id, revision)
) STRICT, WITHOUT ROWID;

-- Taken over from another cache that had some of the commit's files: there may be more of them.
ALTER TABLE snapshots ADD COLUMN partial INTEGER NOT NULL DEFAULT 0;
