-- Jobs are looked for registry by registry, so that one that is busy holds up nobody's search.
CREATE INDEX job_waiting ON onetag.job (host, due_at) WHERE due_at IS NOT NULL;
DROP INDEX onetag.job_due;

-- What came of it, where others need to know.
ALTER TABLE onetag.turn ADD COLUMN result text;
