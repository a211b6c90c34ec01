-- Renames in the writable layers, noted before they happen: a daemon that is killed in the middle of one leaves it to the
-- next, which must know what has happened already.
CREATE TABLE renames (
    id      INTEGER PRIMARY KEY,
    view_id INTEGER NOT NULL REFERENCES views,
    request INTEGER NOT NULL,            -- the kernel's number, the same when it comes again
    inode   INTEGER NOT NULL,            -- on the layer's disk, of what is renamed
    done    INTEGER NOT NULL DEFAULT 0,  -- the nodes have moved as well
    UNIQUE (view_id, request)
) STRICT;
