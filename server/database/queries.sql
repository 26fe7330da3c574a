-- Every statement the server runs. `-- name:` gives the name, the next comment says what it means.
-- Parameters are written :name. Cursors are ids: they sort by time.

-- name: schema.lock
-- One server at a time changes the schema; the lock goes with the transaction.
SELECT pg_advisory_xact_lock(:key);

-- name: schema.make_version_table
-- Where applied schema files are noted.
CREATE TABLE IF NOT EXISTS schema_version (
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: schema.has_version_table
-- Whether the database was ever used.
SELECT to_regclass('schema_version') IS NOT NULL;

-- name: schema.version
-- Newest schema file that was applied.
SELECT max(version) FROM schema_version;

-- name: schema.note
-- A schema file was applied.
INSERT INTO schema_version (version, name) VALUES (:version, :name);

-- name: lock.take
-- Orders transactions that extend one sequence (audit chain, events).
SELECT pg_advisory_xact_lock(:key);

-- name: health.check
-- Is there a database?
SELECT 1;

-- name: audit.last
-- Newest record of the chain.
SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1;

-- name: audit.insert
-- Extend the chain.
INSERT INTO audit (sequence, at, actor, action, target, details, previous_hash, hash)
VALUES (:sequence, :at, :actor, :action, :target, :details, :previous_hash, :hash);

-- name: audit.after
-- The chain from a place on, oldest first.
SELECT * FROM audit WHERE sequence > :after ORDER BY sequence LIMIT :count;

-- name: audit.before
-- The chain backwards, newest first.
SELECT * FROM audit WHERE sequence < :before ORDER BY sequence DESC LIMIT :count;

-- name: secrets.insert
-- A sealed secret.
INSERT INTO secrets (id, sealed) VALUES (:id, :sealed);

-- name: secrets.get
-- A sealed secret.
SELECT sealed FROM secrets WHERE id = :id;

-- name: secrets.replace
-- Another secret in the same place.
UPDATE secrets SET sealed = :sealed WHERE id = :id;

-- name: secrets.delete
-- Gone with its owner.
DELETE FROM secrets WHERE id = :id;

-- name: organizations.insert
-- A tenant under protection.
INSERT INTO organizations
    (id, name, tenant_id, client_id, cloud, authority, graph_endpoint, proxy_url, secret)
VALUES
    (:id, :name, :tenant_id, :client_id, :cloud, :authority, :graph_endpoint, :proxy_url, :secret)
RETURNING *;

-- name: organizations.page
-- All, in the order they were made.
SELECT * FROM organizations WHERE id > :after ORDER BY id LIMIT :count;

-- name: organizations.get
-- One tenant.
SELECT * FROM organizations WHERE id = :id;

-- name: organizations.delete
-- Refused by the database while a job refers to it.
DELETE FROM organizations WHERE id = :id RETURNING secret;

-- name: pools.insert
-- Proxies that share work.
INSERT INTO pools (name) VALUES (:name) RETURNING *;

-- name: pools.ensure
-- The pool of a fresh installation.
INSERT INTO pools (name) VALUES (:name) ON CONFLICT (name) DO NOTHING;

-- name: pools.page
-- All, by name.
SELECT * FROM pools WHERE name > :after ORDER BY name LIMIT :count;

-- name: pools.get
-- One pool.
SELECT * FROM pools WHERE name = :name;

-- name: pools.all
-- Names of every pool.
SELECT name FROM pools ORDER BY name;

-- name: proxies.insert
-- A proxy joins: its key is fixed from now on.
INSERT INTO proxies (id, pool, public_key) VALUES (:id, :pool, :public_key) RETURNING *;

-- name: proxies.page
-- Those that belong to the installation.
SELECT * FROM proxies WHERE id > :after AND removed_at IS NULL ORDER BY id LIMIT :count;

-- name: proxies.all
-- All that belong to the installation.
SELECT id, pool FROM proxies WHERE removed_at IS NULL ORDER BY id;

-- name: proxies.get
-- A proxy that belongs to the installation.
SELECT * FROM proxies WHERE id = :id AND removed_at IS NULL;

-- name: proxies.remove
-- It gets no secrets any more.
UPDATE proxies SET removed_at = now() WHERE id = :id AND removed_at IS NULL;

-- name: repositories.insert
-- Where backups go.
INSERT INTO repositories (id, name, url, pool, secret)
VALUES (:id, :name, :url, :pool, :secret) RETURNING *;

-- name: repositories.page
-- All, in the order they were made.
SELECT * FROM repositories WHERE id > :after ORDER BY id LIMIT :count;

-- name: repositories.all
-- Addresses of every repository.
SELECT url FROM repositories ORDER BY id;

-- name: repositories.get
-- One repository.
SELECT * FROM repositories WHERE id = :id;

-- name: repositories.delete
-- Refused by the database while a job refers to it. Its blobs stay where they are.
DELETE FROM repositories WHERE id = :id RETURNING secret;

-- name: repositories.busy
-- Whether a session uses it now.
SELECT EXISTS (SELECT 1 FROM sessions WHERE repository = :id AND ended_at IS NULL);

-- name: jobs.insert
-- A saved rule: what, where to.
INSERT INTO jobs (id, name, organization, repository, workloads, users, selection)
VALUES (:id, :name, :organization, :repository, :workloads, :users, :selection) RETURNING *;

-- name: jobs.page
-- All, in the order they were made.
SELECT * FROM jobs WHERE id > :after ORDER BY id LIMIT :count;

-- name: jobs.get
-- One job.
SELECT * FROM jobs WHERE id = :id;

-- name: jobs.lock
-- One job, held against deletion until the transaction ends.
SELECT * FROM jobs WHERE id = :id FOR UPDATE;

-- name: jobs.change
-- What and whom it covers.
UPDATE jobs
SET name = :name, workloads = :workloads, users = :users, selection = :selection
WHERE id = :id RETURNING *;

-- name: jobs.delete
-- Its sessions stay, without it.
DELETE FROM jobs WHERE id = :id;

-- name: jobs.busy
-- Whether a session of the job runs.
SELECT EXISTS (SELECT 1 FROM sessions WHERE job = :id AND ended_at IS NULL);

-- name: sessions.insert
-- A run begins; refused by the database while another run of the job has not ended.
INSERT INTO sessions
    (id, kind, job, job_name, organization, repository, pool, workloads, state, scheduled_at)
VALUES
    (:id, :kind, :job, :job_name, :organization, :repository, :pool, :workloads, 'queued',
     :scheduled_at)
RETURNING *;

-- name: sessions.page
-- Newest first; of one job if given.
SELECT * FROM sessions
WHERE id < :before AND (:job::text IS NULL OR job = :job)
ORDER BY id DESC LIMIT :count;

-- name: sessions.get
-- One run.
SELECT * FROM sessions WHERE id = :id;

-- name: sessions.lock
-- One run, held until the transaction ends: its steps are decided one after the other.
SELECT * FROM sessions WHERE id = :id FOR UPDATE;

-- name: sessions.set_state
-- Queued, running, stopping.
UPDATE sessions SET state = :state WHERE id = :id AND ended_at IS NULL;

-- name: sessions.ask_stop
-- A person wants it to end.
UPDATE sessions SET state = 'stopping', stop_asked_at = now()
WHERE id = :id AND ended_at IS NULL;

-- name: sessions.set_point
-- The restore point that the seal-point task writes.
UPDATE sessions SET point = :point WHERE id = :id;

-- name: sessions.end
-- The run is over.
UPDATE sessions SET state = :state, error_code = :error_code, error = :error, ended_at = now()
WHERE id = :id AND ended_at IS NULL;

-- name: sessions.stopping
-- Runs that shall end but have not.
SELECT id, pool, stop_asked_at < now() - make_interval(secs => :wait_s) AS overdue
FROM sessions WHERE state = 'stopping' AND ended_at IS NULL;

-- name: sessions.open
-- Runs that have not ended.
SELECT id FROM sessions WHERE ended_at IS NULL ORDER BY id;

-- name: sessions.totals
-- Progress of runs: tasks by state and the sums of their counters.
SELECT session,
    count(*) AS tasks,
    count(*) FILTER (WHERE ended_at IS NOT NULL) AS tasks_ended,
    count(*) FILTER (WHERE state = 'leased') AS tasks_leased,
    count(*) FILTER (WHERE state = 'failed') AS tasks_failed,
    sum(coalesce((counters ->> 'items_stored')::bigint, 0))::bigint AS items_stored,
    sum(coalesce((counters ->> 'items_unchanged')::bigint, 0))::bigint AS items_unchanged,
    sum(coalesce((counters ->> 'items_removed')::bigint, 0))::bigint AS items_removed,
    sum(coalesce((counters ->> 'items_skipped')::bigint, 0))::bigint AS items_skipped,
    sum(coalesce((counters ->> 'items_failed')::bigint, 0))::bigint AS items_failed,
    sum(coalesce((counters ->> 'items_total')::bigint, 0))::bigint AS items_total,
    sum(coalesce((counters ->> 'bytes_read')::bigint, 0))::bigint AS bytes_read,
    sum(coalesce((counters ->> 'bytes_stored')::bigint, 0))::bigint AS bytes_stored,
    sum(coalesce((counters ->> 'requests')::bigint, 0))::bigint AS requests,
    sum(coalesce((counters ->> 'resource_units')::bigint, 0))::bigint AS resource_units,
    sum(coalesce((counters ->> 'throttled')::bigint, 0))::bigint AS throttled
FROM tasks WHERE session = ANY(:sessions) GROUP BY session;

-- name: sessions.tally
-- What the next step of a run depends on.
SELECT kind, state, count(*) AS count,
    sum(coalesce((counters ->> 'items_skipped')::bigint, 0)
        + coalesce((counters ->> 'items_failed')::bigint, 0))::bigint AS problems
FROM tasks WHERE session = :session GROUP BY kind, state;

-- name: sessions.first_error
-- Why a kind of task failed, for the run's own error.
SELECT error_code, error FROM tasks
WHERE session = :session AND kind = :kind AND state = 'failed' ORDER BY id LIMIT 1;

-- name: sessions.entries
-- For the restore point: each object's newest complete entry of this run, else of an earlier run
-- of the same job into the same repository.
SELECT coalesce(t.entry_manifest, earlier.entry_manifest) AS manifest,
    coalesce(t.entry_index, earlier.entry_index) AS index
FROM tasks t
LEFT JOIN LATERAL (
    SELECT p.entry_manifest, p.entry_index
    FROM tasks p JOIN sessions s ON s.id = p.session
    WHERE t.entry_manifest IS NULL AND p.entry_manifest IS NOT NULL
        AND p.object_kind = t.object_kind AND p.object_id = t.object_id
        AND p.workload = t.workload AND p.id < t.id
        AND s.job = :job AND s.repository = :repository
    ORDER BY p.id DESC LIMIT 1
) earlier ON true
WHERE t.session = :session AND t.kind = 'backup'
    AND coalesce(t.entry_manifest, earlier.entry_manifest) IS NOT NULL
ORDER BY t.id;

-- name: tasks.insert
-- A unit of work; the same unit twice in a run is one.
INSERT INTO tasks
    (id, session, kind, body, object_kind, object_id, object_name, workload)
VALUES
    (:id, :session, :kind, :body, :object_kind, :object_id, :object_name, :workload)
ON CONFLICT (session, kind, object_kind, object_id, workload) DO NOTHING
RETURNING id;

-- name: tasks.lock
-- One unit of work, held until the transaction ends.
SELECT * FROM tasks WHERE id = :id FOR UPDATE;

-- name: tasks.page
-- Units of a run with their outcomes.
SELECT * FROM tasks WHERE session = :session AND id > :after ORDER BY id LIMIT :count;

-- name: tasks.lease
-- A proxy began, or began again.
UPDATE tasks SET state = 'leased', proxy = :proxy, missing_since = NULL,
    deliveries = greatest(deliveries + :begins, :delivery),
    started_at = coalesce(started_at, now())
WHERE id = :id;

-- name: tasks.progress
-- Totals so far; an older report never replaces a newer one.
UPDATE tasks SET counters = coalesce(:counters, counters), done = coalesce(:done, done),
    todo = coalesce(:todo, todo), reported_at = :at
WHERE id = :id AND reported_at <= :at;

-- name: tasks.entry
-- A complete entry is durable in the repository.
UPDATE tasks SET entry_manifest = :manifest, entry_index = :index WHERE id = :id;

-- name: tasks.finish
-- The unit is over.
UPDATE tasks SET state = :state, error_code = :error_code, error = :error, report = :report,
    ended_at = now(), missing_since = NULL
WHERE id = :id AND ended_at IS NULL;

-- name: tasks.stop_queued
-- Units nobody works on end with the run; returns them.
UPDATE tasks SET state = 'stopped', ended_at = now()
WHERE session = :session AND ended_at IS NULL AND (state = 'queued' OR :overdue)
RETURNING id, kind;

-- name: tasks.published
-- The message is in the stream.
UPDATE tasks SET publications = publications + 1, published_at = now() WHERE id = :id;

-- name: tasks.unfinished
-- Units whose message should be in the stream.
SELECT t.id, t.kind, t.publications, s.pool,
    coalesce(t.missing_since < now() - make_interval(secs => :grace_s), false) AS overdue
FROM tasks t JOIN sessions s ON s.id = t.session
WHERE t.ended_at IS NULL AND t.published_at < now() - make_interval(secs => :grace_s)
    AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.task = t.id)
    AND t.id > :after
ORDER BY t.id LIMIT :count;

-- name: tasks.note_missing
-- The stream does not have it: the finished event may still be on its way.
UPDATE tasks SET missing_since = coalesce(missing_since, now())
WHERE id = :id AND ended_at IS NULL;

-- name: tasks.note_present
-- The stream has it after all.
UPDATE tasks SET missing_since = NULL WHERE id = :id AND missing_since IS NOT NULL;

-- name: tasks.requeue
-- It will be published anew.
UPDATE tasks SET missing_since = NULL, published_at = NULL WHERE id = :id AND ended_at IS NULL;

-- name: tasks.needs_organization
-- Whether a proxy of the pool may have a task that reads the tenant.
SELECT EXISTS (
    SELECT 1 FROM sessions
    WHERE organization = :organization AND pool = :pool AND ended_at IS NULL
);

-- name: outcomes.insert
-- An item that was not stored as it should; reported twice it is one.
INSERT INTO task_outcomes (id, session, task, item, name, result, cause, detail)
VALUES (:id, :session, :task, :item, :name, :result, :cause, :detail)
ON CONFLICT (task, item) DO UPDATE
SET result = excluded.result, cause = excluded.cause, detail = excluded.detail;

-- name: outcomes.page
-- Items of a run that have a cause.
SELECT o.*, t.object_name, t.workload FROM task_outcomes o JOIN tasks t ON t.id = o.task
WHERE o.session = :session AND o.id > :after ORDER BY o.id LIMIT :count;

-- name: objects.see
-- A protected object was listed.
INSERT INTO objects (organization, kind, id, name, display_name)
VALUES (:organization, :kind, :id, :name, :display_name)
ON CONFLICT (organization, kind, id) DO UPDATE
SET name = excluded.name, display_name = excluded.display_name, seen_at = now();

-- name: objects.page
-- Protected objects of a tenant.
SELECT *, kind || '/' || id AS cursor FROM objects
WHERE organization = :organization AND kind || '/' || id > :after
ORDER BY kind || '/' || id LIMIT :count;

-- name: events.insert
-- Something happened; told twice it is stored once (then nothing is returned).
INSERT INTO events (id, session, task, kind, body)
VALUES (:id, :session, :task, :kind, :body)
ON CONFLICT (id) DO NOTHING
RETURNING sequence;

-- name: events.after
-- Replay, of one run if given.
SELECT sequence, body FROM events
WHERE sequence > :after AND (:session::text IS NULL OR session = :session)
ORDER BY sequence LIMIT :count;

-- name: events.last
-- Where a feed without a place to begin starts.
SELECT coalesce(max(sequence), 0) FROM events;

-- name: events.trim
-- Old events of ended runs; a run's rows keep what they said.
DELETE FROM events WHERE stored_at < now() - make_interval(days => :days);

-- name: outbox.insert
-- To be published to the work stream.
INSERT INTO outbox (task, subject, message_id) VALUES (:task, :subject, :message_id)
ON CONFLICT (message_id) DO NOTHING;

-- name: outbox.take
-- What is to be published, oldest first.
SELECT o.id, o.task, o.subject, o.message_id, t.session, t.body, t.ended_at IS NOT NULL AS ended
FROM outbox o JOIN tasks t ON t.id = o.task ORDER BY o.id LIMIT :count;

-- name: outbox.delete
-- It was published.
DELETE FROM outbox WHERE id = :id;

-- name: points.clear
-- The cache of one repository is written anew.
DELETE FROM restore_points WHERE repository = :repository;

-- name: points.insert
-- A restore point as a proxy listed it.
INSERT INTO restore_points (repository, id, position, body)
VALUES (:repository, :id, :position, :body)
ON CONFLICT (repository, id) DO UPDATE
SET position = excluded.position, body = excluded.body, cached_at = now();

-- name: points.all
-- Restore points as last listed.
SELECT body FROM restore_points WHERE repository = :repository ORDER BY position;

-- name: users.insert
-- A person or a program.
INSERT INTO users (id, name, password_hash, roles)
VALUES (:id, :name, :password_hash, :roles) RETURNING *;

-- name: users.page
-- All, in the order they were made.
SELECT * FROM users WHERE id > :after ORDER BY id LIMIT :count;

-- name: users.get
-- One user.
SELECT * FROM users WHERE id = :id;

-- name: users.by_name
-- For signing in.
SELECT * FROM users WHERE name = :name;

-- name: users.any
-- Whether the installation has a user yet.
SELECT EXISTS (SELECT 1 FROM users);

-- name: users.administrators
-- Ids of those who may do everything, held until the transaction ends.
SELECT id FROM users WHERE 'administrator' = ANY(roles) ORDER BY id FOR UPDATE;

-- name: users.delete
-- Tokens go as well.
DELETE FROM users WHERE id = :id;

-- name: tokens.insert
-- Only the hash is kept.
INSERT INTO tokens (hash, owner, scopes, expires_at)
VALUES (:hash, :owner, :scopes, now() + make_interval(secs => :life_s));

-- name: tokens.get
-- Who holds a token; expired ones count as absent.
SELECT t.scopes, t.expires_at, u.id, u.name, u.roles
FROM tokens t JOIN users u ON u.id = t.owner
WHERE t.hash = :hash AND t.expires_at > now();

-- name: tokens.delete
-- Signed out.
DELETE FROM tokens WHERE hash = :hash;

-- name: tokens.trim
-- Nobody can use them any more.
DELETE FROM tokens WHERE expires_at < now();

-- name: tasks.first
-- The first unit of a kind in a run.
SELECT * FROM tasks WHERE session = :session AND kind = :kind ORDER BY id LIMIT 1;

-- name: objects.forget
-- Their organization goes.
DELETE FROM objects WHERE organization = :organization;
