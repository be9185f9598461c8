-- One row a plain tag as it was last found. Times are milliseconds since 1970.
CREATE TABLE version (
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    state      TEXT NOT NULL,
    body       TEXT NOT NULL,                          -- the tag with its images and problems, as JSON
    since      INTEGER NOT NULL,                       -- when it was first found in this state
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE version_image (
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    place      INTEGER NOT NULL,
    arch       TEXT NOT NULL,                          -- the word, or the platform where there is none
    platform   TEXT,
    state      TEXT NOT NULL,
    PRIMARY KEY (repository, tag, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_image_arch ON version_image (repository, arch, platform);

CREATE INDEX job_trouble ON job (repository) WHERE trouble IS NOT NULL;
