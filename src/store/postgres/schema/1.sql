-- One row a plain tag that waits, runs or is in trouble. Times are milliseconds since 1970, by the
-- server's clock.
CREATE TABLE onetag.job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host            text NOT NULL,
    repository      text NOT NULL,
    tag             text NOT NULL,
    due_at          bigint,                      -- null: does not wait; it is only listed
    set_at          bigint NOT NULL,             -- when due_at was set; in the future: the clock stepped back
    woken_at        bigint,                      -- the first wake-up that no run has answered
    burst_at        bigint,                      -- the first wake-up since the last claim
    last_woken_at   bigint NOT NULL,
    quiet_ms        bigint NOT NULL,
    longest_ms      bigint NOT NULL,
    wakes           bigint NOT NULL,
    claimed_wakes   bigint NOT NULL DEFAULT 0,   -- how many of them the last claim saw
    cause           text NOT NULL,
    event_id        text,
    hints           text NOT NULL,               -- {architecture tag: digest}
    claimed_hints   text NOT NULL DEFAULT '{}',
    generation      bigint NOT NULL DEFAULT 0,   -- counts claims, ends and revocations: the fence
    starts          bigint NOT NULL DEFAULT 0,
    attempts        bigint NOT NULL DEFAULT 0,
    trouble         text,
    reason          text,
    troubled_at     bigint,
    leased_until    bigint,                      -- null: nobody's
    lease_ms        bigint,                      -- null while leased_until is set: revoked, and free from then on
    UNIQUE (repository, tag)
) WITH (fillfactor = 60);
CREATE INDEX job_due ON onetag.job (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX job_set ON onetag.job (set_at) WHERE due_at IS NOT NULL;
CREATE INDEX job_leased ON onetag.job (leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX job_trouble ON onetag.job (troubled_at) WHERE trouble IS NOT NULL;

CREATE TABLE onetag.quarantined (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         text NOT NULL UNIQUE,            -- the delivery's own, so that storing it again changes nothing
    received_at bigint NOT NULL,
    hook        text NOT NULL,
    reason      text NOT NULL,
    size        bigint NOT NULL,
    body        bytea NOT NULL
);

CREATE TABLE onetag.journal (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository  text NOT NULL,
    tag         text NOT NULL,
    act         text NOT NULL,
    old_digest  text,
    new_digest  text,
    cause       text NOT NULL,
    event_id    text,
    inputs      text NOT NULL,
    reasons     text NOT NULL,
    requests    bigint NOT NULL,
    woken_at    bigint NOT NULL,
    recorded_at bigint NOT NULL,
    media_type  text,
    index_bytes bytea
);
CREATE INDEX journal_tag ON onetag.journal (repository, tag, id);
CREATE INDEX journal_published ON onetag.journal (repository, tag, id)
    WHERE act IN ('pushed', 'unchanged', 'rolled-back');

CREATE TABLE onetag.hold (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository text NOT NULL,
    tag        text NOT NULL,
    digest     text NOT NULL,
    images     text NOT NULL,                    -- {architecture tag: digest}
    reason     text NOT NULL,
    since      bigint NOT NULL,
    UNIQUE (repository, tag)
);

CREATE TABLE onetag.fact (
    kind        text NOT NULL,
    digest      text NOT NULL,
    value       bytea NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (kind, digest)
);

-- What is done once in a while and by one process.
CREATE TABLE onetag.turn (
    kind    text NOT NULL,
    subject text NOT NULL,
    next_at bigint NOT NULL,
    every   bigint NOT NULL,
    done_at bigint,
    PRIMARY KEY (kind, subject)
);

-- How fast registries are asked, all processes together.
CREATE TABLE onetag.pace (
    host        text PRIMARY KEY,
    next_at     double precision NOT NULL DEFAULT 0, -- when the next request would go, if none went at once
    quiet_until bigint NOT NULL DEFAULT 0            -- until when the registry asked to be left alone
);
