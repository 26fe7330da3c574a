-- What a job covers beyond the users it names, and the cloud that a tenant is in.
ALTER TABLE jobs ADD COLUMN selection jsonb NOT NULL DEFAULT '{}';
ALTER TABLE organizations ADD COLUMN cloud text NOT NULL DEFAULT 'global';
