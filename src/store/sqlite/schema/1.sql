-- One row a plain tag that waits, runs or is in trouble. Times are milliseconds since 1970.
CREATE TABLE job (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so that no old lease fits a new row
    host            TEXT NOT NULL,
    repository      TEXT NOT NULL,
    tag             TEXT NOT NULL,
    due_at          INTEGER,                           -- null: does not wait; it is only listed
    set_at          INTEGER NOT NULL,                  -- when due_at was set; in the future: the clock stepped back
    woken_at        INTEGER,                           -- the first wake-up that no run has answered
    burst_at        INTEGER,                           -- the first wake-up since the last claim
    last_woken_at   INTEGER NOT NULL,
    quiet_ms        INTEGER NOT NULL,
    longest_ms      INTEGER NOT NULL,
    wakes           INTEGER NOT NULL,
    claimed_wakes   INTEGER NOT NULL DEFAULT 0,        -- how many of them the last claim saw
    cause           TEXT NOT NULL,
    event_id        TEXT,
    hints           TEXT NOT NULL,                     -- {architecture tag: digest}
    claimed_hints   TEXT NOT NULL DEFAULT '{}',
    generation      INTEGER NOT NULL DEFAULT 0,        -- counts claims and ends: the fence
    starts          INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    trouble         TEXT,
    reason          TEXT,
    troubled_at     INTEGER,
    UNIQUE (repository, tag)
) STRICT;
CREATE INDEX job_due ON job (due_at, host) WHERE due_at IS NOT NULL;
CREATE INDEX job_set ON job (set_at) WHERE due_at IS NOT NULL;

CREATE TABLE quarantined (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at INTEGER NOT NULL,
    hook        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    size        INTEGER NOT NULL,
    body        BLOB NOT NULL
) STRICT;

CREATE TABLE journal (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    repository  TEXT NOT NULL,
    tag         TEXT NOT NULL,
    act         TEXT NOT NULL,
    old_digest  TEXT,
    new_digest  TEXT,
    cause       TEXT NOT NULL,
    event_id    TEXT,
    inputs      TEXT NOT NULL,
    reasons     TEXT NOT NULL,
    requests    INTEGER NOT NULL,
    woken_at    INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    media_type  TEXT,
    index_bytes BLOB
) STRICT;
CREATE INDEX journal_tag ON journal (repository, tag, id);
CREATE INDEX journal_published ON journal (repository, tag, id) WHERE act IN ('pushed', 'unchanged', 'rolled-back');

CREATE TABLE hold (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    images     TEXT NOT NULL,                          -- {architecture tag: digest}
    reason     TEXT NOT NULL,
    since      INTEGER NOT NULL,
    UNIQUE (repository, tag)
) STRICT;

CREATE TABLE fact (
    kind        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    value       BLOB NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (kind, digest)
) STRICT, WITHOUT ROWID;
