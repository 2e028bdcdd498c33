-- Calls, their transcripts, and the ledger of signals. Times are microseconds since 1970, UTC.
-- Plain types, so that the PostgreSQL twin differs in the identity column and BLOB/BYTEA only.

CREATE TABLE calls (
    id            INTEGER PRIMARY KEY,
    -- SHA-256 of the session key: the key opens the agent's page, so the file holds only what recognises it.
    key_hash      BLOB    NOT NULL UNIQUE,
    call_id       TEXT    NOT NULL,
    contact_id    TEXT,
    caller_number TEXT    NOT NULL,
    called_number TEXT    NOT NULL,
    tenant        TEXT,
    started_at    BIGINT  NOT NULL,
    answered_at   BIGINT,
    ended_at      BIGINT,
    end_reason    TEXT,
    cause         TEXT,
    turns         BIGINT,
    -- Retention counts from here: the end, or a day after the start of a call that was never ended (a crash).
    ages_from     BIGINT  NOT NULL
);
CREATE INDEX calls_by_age ON calls (ages_from);

CREATE TABLE entries (
    call BIGINT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    seq  BIGINT NOT NULL,
    at   BIGINT NOT NULL,
    who  TEXT   NOT NULL,
    text TEXT   NOT NULL,
    PRIMARY KEY (call, seq)
);

CREATE TABLE signals (
    id          TEXT   NOT NULL PRIMARY KEY,
    call        BIGINT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    purpose     TEXT   NOT NULL,
    contact_id  TEXT   NOT NULL,
    -- The session key of a transfer. Erased when the signal settles.
    p1          TEXT,
    -- p2..p9 as a JSON object.
    custom_data TEXT   NOT NULL,
    state       TEXT   NOT NULL CHECK (state IN ('ordered', 'accepted', 'ambiguous', 'failed')),
    attempts    BIGINT NOT NULL DEFAULT 0,
    ordered_at  BIGINT NOT NULL,
    settled_at  BIGINT,
    detail      TEXT
);
CREATE INDEX signals_by_call ON signals (call);
CREATE INDEX signals_unsettled ON signals (ordered_at) WHERE state = 'ordered';

-- One row that an idle gateway touches, to know that it could write.
CREATE TABLE heartbeat (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at BIGINT NOT NULL
);
