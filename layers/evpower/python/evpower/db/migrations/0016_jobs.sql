-- Commands by operators, and what some of them begin: firmware updates and uploads of logs (OCPP 1.6 sections 5.18, 5.9,
-- security whitepaper).

-- A command that nobody has written to the charger yet can be taken back.
ALTER TABLE station_commands DROP CONSTRAINT station_commands_status_check;
ALTER TABLE station_commands ADD CONSTRAINT station_commands_status_check CHECK (status IN (
    'queued', 'sent', 'accepted', 'rejected', 'failed', 'timed_out', 'expired', 'cancelled'));

-- Firmware that operators have put into the file store. An owner's files are its own; without an owner they are
-- everybody's.
CREATE TABLE firmware_files (
    id text PRIMARY KEY,
    owner_id text REFERENCES users (id),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    version text NOT NULL CHECK (char_length(version) BETWEEN 1 AND 50),
    vendor text CHECK (char_length(vendor) <= 100),
    model text CHECK (char_length(model) <= 100),
    object_key text NOT NULL UNIQUE,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    signature text CHECK (char_length(signature) <= 800),                     -- base64
    signing_certificate text CHECK (char_length(signing_certificate) <= 5500), -- PEM
    state text NOT NULL DEFAULT 'announced' CHECK (state IN ('announced', 'stored', 'retired')),
    created_by text NOT NULL,
    stored_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX firmware_files_created_idx ON firmware_files (created_at DESC, id DESC);
CREATE INDEX firmware_files_owner_idx ON firmware_files (owner_id);

-- One row is one update or one upload. What the charger reports moves it on; how its command fared is in the command's
-- row. requestId of the security extension is an int32.
CREATE SEQUENCE station_job_request_id_seq AS integer MAXVALUE 2147483647 CYCLE;
CREATE TABLE station_jobs (
    id text PRIMARY KEY,
    station_id text NOT NULL REFERENCES stations (id),
    kind text NOT NULL CHECK (kind IN ('firmware', 'signed_firmware', 'diagnostics', 'log')),
    state text NOT NULL DEFAULT 'requested' CHECK (state IN (
        'requested', 'accepted', 'running', 'succeeded', 'failed', 'rejected', 'cancelled', 'expired')),
    request_id integer, -- only where the charger repeats it: signed_firmware, log
    command_id text REFERENCES station_commands (id) ON DELETE SET NULL,
    firmware_id text REFERENCES firmware_files (id),
    location text NOT NULL,  -- where to, without user names, passwords and signatures
    object_key text,         -- where the upload lies in our own store
    file_name text,          -- what the charger calls its upload
    log_type text CHECK (log_type IN ('DiagnosticsLog', 'SecurityLog')),
    charger_status text,     -- its last word
    steps jsonb NOT NULL DEFAULT '[]', -- [{"at": ..., "status": ...}], bounded
    error text,
    requested_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    finished_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX station_jobs_station_idx ON station_jobs (station_id, created_at DESC, id DESC);
CREATE INDEX station_jobs_open_idx ON station_jobs (expires_at) WHERE state IN ('requested', 'accepted', 'running');
CREATE INDEX station_jobs_command_idx ON station_jobs (command_id) WHERE command_id IS NOT NULL;
CREATE INDEX station_jobs_firmware_idx ON station_jobs (firmware_id) WHERE firmware_id IS NOT NULL;
CREATE INDEX station_jobs_age_idx ON station_jobs (created_at) WHERE state NOT IN ('requested', 'accepted', 'running');

-- Lists of an operator: a page is found by its first row.
DROP INDEX station_commands_station_idx;
CREATE INDEX station_commands_station_idx ON station_commands (station_id, created_at DESC, id DESC);
CREATE INDEX station_events_page_idx ON station_events (station_id, id DESC);

SELECT evpower_protect_table(name) FROM unnest(ARRAY['firmware_files', 'station_jobs']) AS name;
REVOKE ALL ON SEQUENCE station_job_request_id_seq FROM PUBLIC, anon, authenticated;
GRANT USAGE ON SEQUENCE station_job_request_id_seq TO evpower_worker, service_role, evpower_api;
GRANT SELECT, INSERT, UPDATE ON firmware_files, station_jobs TO evpower_api;
-- Only staff has to do with them.
CREATE POLICY api_staff ON firmware_files TO evpower_api
    USING (evpower_scope_is_wide()) WITH CHECK (evpower_scope_is_wide());
CREATE POLICY api_staff ON station_jobs TO evpower_api
    USING (evpower_scope_is_wide()) WITH CHECK (evpower_scope_is_wide());
