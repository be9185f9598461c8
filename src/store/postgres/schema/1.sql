-- One row a plain tag that waits, runs or is in trouble. Times are milliseconds since 1970, by the
-- server's clock. Names are compared byte by byte, whatever language the server speaks.
CREATE TABLE onetag.job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host            text COLLATE "C" NOT NULL,
    repository      text COLLATE "C" NOT NULL,
    tag             text COLLATE "C" NOT NULL,
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
CREATE INDEX job_trouble ON onetag.job (repository, troubled_at) WHERE trouble IS NOT NULL;

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
    repository  text COLLATE "C" NOT NULL,
    tag         text COLLATE "C" NOT NULL,
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
CREATE INDEX journal_recorded ON onetag.journal (recorded_at);
CREATE INDEX journal_published ON onetag.journal (repository, tag, id)
    WHERE act IN ('pushed', 'unchanged', 'rolled-back');

CREATE TABLE onetag.hold (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository text COLLATE "C" NOT NULL,
    tag        text COLLATE "C" NOT NULL,
    digest     text COLLATE "C" NOT NULL,
    images     text NOT NULL,                    -- {architecture tag: digest}
    reason     text NOT NULL,
    since      bigint NOT NULL,
    UNIQUE (repository, tag)
);

CREATE TABLE onetag.fact (
    kind        text COLLATE "C" NOT NULL,
    digest      text COLLATE "C" NOT NULL,
    value       bytea NOT NULL,
    recorded_at bigint NOT NULL,
    PRIMARY KEY (kind, digest)
);

-- What is done once in a while and by one process.
CREATE TABLE onetag.turn (
    kind    text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    next_at bigint NOT NULL,
    every   bigint NOT NULL,
    done_at bigint,
    PRIMARY KEY (kind, subject)
);

-- How fast registries are asked, all processes together.
CREATE TABLE onetag.pace (
    host        text COLLATE "C" PRIMARY KEY,
    next_at     double precision NOT NULL DEFAULT 0, -- when the next request would go, if none went at once
    quiet_until bigint NOT NULL DEFAULT 0            -- until when the registry asked to be left alone
);

-- One row a plain tag as it was last found.
CREATE TABLE onetag.version (
    repository text COLLATE "C" NOT NULL,
    tag        text COLLATE "C" NOT NULL,
    state      text NOT NULL,
    body       text NOT NULL,                    -- the tag with its images and problems, as JSON
    since      bigint NOT NULL,                  -- when it was first found in this state
    checked_at bigint NOT NULL,
    changed_at bigint NOT NULL,                  -- when it was last found otherwise than before
    PRIMARY KEY (repository, tag)
);
CREATE INDEX version_changed ON onetag.version (changed_at);

CREATE TABLE onetag.version_image (
    repository text COLLATE "C" NOT NULL,
    tag        text COLLATE "C" NOT NULL,
    place      bigint NOT NULL,
    arch       text COLLATE "C" NOT NULL,        -- the word, or the platform where there is none
    platform   text COLLATE "C",
    state      text NOT NULL,
    PRIMARY KEY (repository, tag, place)
);
CREATE INDEX version_image_arch ON onetag.version_image (repository, arch, platform);
