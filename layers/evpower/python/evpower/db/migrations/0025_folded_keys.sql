-- Texts that are compared without regard to letter case get a stored column in one case, and repositories compare that
-- (docs/decisions/0016). Under row level security upper() and lower() in a filter cannot use an index: they are not
-- leakproof, so the server runs them only on rows that a policy has let through. Equality of texts is.
--
-- Each statement that adds columns writes its table anew and locks it meanwhile (some 10 s per million sessions). The
-- release before this one compares upper(id_tag), and names the earlier unique index in ON CONFLICT: its indexes stay
-- until a later migration drops them.

ALTER TABLE id_tags
    ADD COLUMN id_tag_folded text GENERATED ALWAYS AS (upper(id_tag)) STORED,
    ADD COLUMN parent_id_tag_folded text GENERATED ALWAYS AS (upper(parent_id_tag)) STORED;
CREATE UNIQUE INDEX id_tags_folded_idx ON id_tags (id_tag_folded);
CREATE INDEX id_tags_parent_folded_idx ON id_tags (parent_id_tag_folded) WHERE parent_id_tag_folded IS NOT NULL;

ALTER TABLE charging_sessions ADD COLUMN id_tag_folded text GENERATED ALWAYS AS (upper(id_tag)) STORED;
CREATE INDEX charging_sessions_folded_idx ON charging_sessions (station_id, id_tag_folded, created_at DESC);

ALTER TABLE ocpp_transactions ADD COLUMN id_tag_folded text GENERATED ALWAYS AS (upper(id_tag)) STORED;
CREATE UNIQUE INDEX ocpp_transactions_folded_content_idx
    ON ocpp_transactions (station_id, connector_id, id_tag_folded, meter_start, started_at);
CREATE UNIQUE INDEX ocpp_transactions_folded_repetition_idx
    ON ocpp_transactions (station_id, connector_id, id_tag_folded, meter_start, said_at, repetition)
    WHERE repetition > 0;
CREATE INDEX ocpp_transactions_folded_tag_idx ON ocpp_transactions (id_tag_folded, id DESC);

-- Found by their station first.
ALTER TABLE reservations ADD COLUMN id_tag_folded text GENERATED ALWAYS AS (upper(id_tag)) STORED;
ALTER TABLE ocpp_configuration ADD COLUMN key_folded text GENERATED ALWAYS AS (lower(key)) STORED;
CREATE INDEX ocpp_configuration_folded_idx ON ocpp_configuration (station_id, key_folded);
-- Hexadecimal; chargers write it in both cases, and serial numbers with leading zeros.
ALTER TABLE installed_certificates
    ADD COLUMN issuer_name_hash_folded text GENERATED ALWAYS AS (lower(issuer_name_hash)) STORED,
    ADD COLUMN issuer_key_hash_folded text GENERATED ALWAYS AS (lower(issuer_key_hash)) STORED,
    ADD COLUMN serial_number_folded text GENERATED ALWAYS AS (ltrim(lower(serial_number), '0')) STORED;

ALTER TABLE promo_codes ADD COLUMN code_folded text GENERATED ALWAYS AS (lower(code)) STORED;
CREATE UNIQUE INDEX promo_codes_folded_idx ON promo_codes (code_folded);
