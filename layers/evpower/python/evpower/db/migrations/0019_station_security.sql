-- Security of the chargers' connections (OCPP 1.6 security whitepaper, edition 3): profile, keys, certificates.

ALTER TABLE stations
    -- What the server demands: 0 nothing, 1 a password, 2 a password over TLS, 3 a client certificate.
    ADD COLUMN security_profile integer NOT NULL DEFAULT 0 CHECK (security_profile BETWEEN 0 AND 3),
    -- Asked of the charger; demanded from the first connection that proves it.
    ADD COLUMN requested_security_profile integer CHECK (requested_security_profile BETWEEN 1 AND 3),
    ADD COLUMN security_profile_command_id text,
    -- What the newest connection has proven, in the same numbers.
    ADD COLUMN connection_security integer CHECK (connection_security BETWEEN 0 AND 3),
    ADD COLUMN auth_key_changed_at timestamptz,
    -- Counts revocations: an upgrade that was decided before one must not be completed after it.
    ADD COLUMN credentials_version integer NOT NULL DEFAULT 0;

-- AuthorizationKeys on their way to a charger. Until the charger has used one, the present key works as well.
CREATE TABLE station_key_candidates (
    id text PRIMARY KEY,
    ordinal bigint GENERATED ALWAYS AS IDENTITY,
    station_id text NOT NULL REFERENCES stations (id) ON DELETE CASCADE,
    key_hash text NOT NULL,
    delivery text NOT NULL CHECK (delivery IN ('send', 'by_hand')),
    command_id text, -- the ChangeConfiguration that carries it; purged by age before the station is
    needs_reboot boolean NOT NULL DEFAULT false,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX station_key_candidates_station_idx ON station_key_candidates (station_id, ordinal);

-- Certificates that chargers asked us for (SignCertificate).
CREATE TABLE station_certificates (
    id text PRIMARY KEY,
    station_id text NOT NULL REFERENCES stations (id) ON DELETE CASCADE,
    -- requested: the authority has to be asked; issued: the charger has to be told; the rest is final
    state text NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'issued', 'accepted', 'rejected', 'failed')),
    csr text NOT NULL,
    csr_fingerprint text NOT NULL,
    ca_reference text, -- the authority's own name of an order that is not finished
    chain text,        -- PEM, leaf first
    subject text,
    issuer text,
    serial_number text, -- lower-case hexadecimal without leading zeros
    not_before timestamptz,
    not_after timestamptz,
    command_id text,   -- the newest CertificateSigned
    sends integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz, -- when the sweep looks at it next; NULL: nothing is left to do
    error text,
    warned_days integer, -- the smallest threshold that operators have been told of
    requested_at timestamptz NOT NULL,
    issued_at timestamptz,
    answered_at timestamptz,
    used_at timestamptz, -- the first connection that showed it
    revoked_at timestamptz,
    revoked_by text,
    ca_revoked_at timestamptz
);
CREATE INDEX station_certificates_station_idx ON station_certificates (station_id, requested_at DESC);
CREATE INDEX station_certificates_due_idx ON station_certificates (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX station_certificates_expiry_idx ON station_certificates (not_after)
    WHERE state = 'accepted' AND revoked_at IS NULL;
CREATE INDEX station_certificates_age_idx ON station_certificates (requested_at)
    WHERE state IN ('rejected', 'failed') AND revoked_at IS NULL;
CREATE UNIQUE INDEX station_certificates_open_idx ON station_certificates (station_id, csr_fingerprint)
    WHERE state IN ('requested', 'issued');

-- Root certificates inside chargers, as they last told or accepted them.
CREATE TABLE installed_certificates (
    id text PRIMARY KEY,
    station_id text NOT NULL REFERENCES stations (id) ON DELETE CASCADE,
    certificate_type text NOT NULL,
    hash_algorithm text NOT NULL,
    issuer_name_hash text NOT NULL,
    issuer_key_hash text NOT NULL,
    serial_number text NOT NULL,
    certificate text, -- PEM; known when it was installed by us
    subject text,
    not_after timestamptz,
    warned_days integer,
    seen_at timestamptz NOT NULL,
    UNIQUE (station_id, certificate_type, hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number)
);
CREATE INDEX installed_certificates_expiry_idx ON installed_certificates (not_after) WHERE not_after IS NOT NULL;

SELECT evpower_protect_table(name)
  FROM unnest(ARRAY['station_key_candidates', 'station_certificates', 'installed_certificates']) AS name;
GRANT SELECT, INSERT, UPDATE, DELETE ON station_key_candidates TO evpower_api;
GRANT SELECT, UPDATE ON station_certificates TO evpower_api;
GRANT SELECT ON installed_certificates TO evpower_api;
CREATE POLICY api_staff ON station_key_candidates TO evpower_api
    USING (evpower_scope_is_wide()) WITH CHECK (evpower_scope_is_wide());
CREATE POLICY api_staff ON station_certificates TO evpower_api
    USING (evpower_scope_is_wide()) WITH CHECK (evpower_scope_is_wide());
CREATE POLICY api_staff ON installed_certificates FOR SELECT TO evpower_api USING (evpower_scope_is_wide());
