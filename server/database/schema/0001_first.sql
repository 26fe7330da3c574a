-- First schema. Works on PostgreSQL 15 and newer, without extensions.
-- Ids are 32 hexadecimal digits that sort by time; names are unique where people type them.

CREATE TABLE secrets (
    id text PRIMARY KEY,
    sealed bytea NOT NULL,  -- AES-256-GCM with the key file of the installation; bound to the id
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE organizations (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    tenant_id text NOT NULL,
    client_id text NOT NULL,
    authority text,
    graph_endpoint text,
    proxy_url text,
    secret text NOT NULL REFERENCES secrets (id),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE pools (
    name text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE proxies (
    id text PRIMARY KEY,
    pool text NOT NULL REFERENCES pools (name),
    public_key text NOT NULL,  -- X25519, fixed when the proxy joins
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz
);

CREATE TABLE repositories (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    url text NOT NULL,
    pool text NOT NULL REFERENCES pools (name),
    secret text NOT NULL REFERENCES secrets (id),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE jobs (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    organization text NOT NULL REFERENCES organizations (id),
    repository text NOT NULL REFERENCES repositories (id),
    workloads text[] NOT NULL,
    users text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
    id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('backup', 'verify')),
    job text REFERENCES jobs (id) ON DELETE SET NULL,
    job_name text NOT NULL,
    organization text REFERENCES organizations (id) ON DELETE SET NULL,
    repository text REFERENCES repositories (id) ON DELETE SET NULL,
    pool text NOT NULL,
    workloads text[] NOT NULL,
    state text NOT NULL,
    scheduled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    stop_asked_at timestamptz,
    ended_at timestamptz,
    error_code text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    point text,
    UNIQUE (job, scheduled_at)
);
-- A job runs once at a time.
CREATE UNIQUE INDEX sessions_running ON sessions (job) WHERE ended_at IS NULL;
CREATE INDEX sessions_job ON sessions (job, id);

CREATE TABLE tasks (
    id text PRIMARY KEY,
    session text NOT NULL REFERENCES sessions (id),
    kind text NOT NULL,
    state text NOT NULL DEFAULT 'queued',
    body jsonb NOT NULL,  -- proxy.contract.Task
    object_kind text NOT NULL DEFAULT '',
    object_id text NOT NULL DEFAULT '',
    object_name text NOT NULL DEFAULT '',
    workload text NOT NULL DEFAULT '',
    proxy text,
    deliveries integer NOT NULL DEFAULT 0,
    counters jsonb NOT NULL DEFAULT '{}',
    done bigint,
    todo bigint,
    reported_at text NOT NULL DEFAULT '',  -- `at` of the newest event whose totals are stored
    entry_manifest text,  -- newest complete entry
    entry_index bigint,
    error_code text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    report jsonb NOT NULL DEFAULT '{}',
    publications integer NOT NULL DEFAULT 0,
    published_at timestamptz,
    missing_since timestamptz,  -- first time the stream was seen without it
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz,
    UNIQUE (session, kind, object_kind, object_id, workload)
);
CREATE INDEX tasks_open ON tasks (published_at) WHERE ended_at IS NULL;
CREATE INDEX tasks_entries ON tasks (object_kind, object_id, workload, id)
    WHERE entry_manifest IS NOT NULL;

CREATE TABLE task_outcomes (
    id text PRIMARY KEY,
    session text NOT NULL REFERENCES sessions (id),
    task text NOT NULL REFERENCES tasks (id),
    item text NOT NULL,
    name text NOT NULL,
    result text NOT NULL,
    cause text NOT NULL,
    detail text NOT NULL,
    UNIQUE (task, item)
);
CREATE INDEX task_outcomes_session ON task_outcomes (session, id);

CREATE TABLE objects (
    organization text NOT NULL REFERENCES organizations (id),
    kind text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    display_name text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization, kind, id)
);

CREATE TABLE events (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    session text NOT NULL,
    task text,
    kind text NOT NULL,
    body jsonb NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_session ON events (session, sequence);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task text NOT NULL REFERENCES tasks (id),
    subject text NOT NULL,
    message_id text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE restore_points (
    repository text NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    id text NOT NULL,
    position bigint NOT NULL,  -- order in which the repository lists them
    body jsonb NOT NULL,
    cached_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository, id)
);

CREATE TABLE users (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    roles text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
    hash bytea PRIMARY KEY,
    owner text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX tokens_expiry ON tokens (expires_at);

CREATE TABLE audit (
    sequence bigint PRIMARY KEY,
    at text NOT NULL,  -- exactly the text that was hashed
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    details text NOT NULL,  -- JSON, exactly the text that was hashed
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL
);
