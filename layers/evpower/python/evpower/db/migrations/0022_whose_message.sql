-- To which charge a message belongs (docs/decisions/0014).

-- A session that is settled without its StopTransaction ends its transaction as `ended_without_stop`; the charger's own
-- stop, whenever it comes, makes it `stopped`. `ended_by` is the source of that settlement.
ALTER TABLE ocpp_transactions DROP CONSTRAINT ocpp_transactions_status_check;
ALTER TABLE ocpp_transactions
    ADD CONSTRAINT ocpp_transactions_status_check CHECK (status IN ('active', 'stopped', 'ended_without_stop')),
    ADD COLUMN ended_by text,
    ADD COLUMN ended_at timestamptz,
    -- Whether meterStop can be the end of the charge. Where it can, later readings change nothing.
    ADD COLUMN stop_plausible boolean,
    -- A StopTransaction that names no transaction of ours and may be the end of this one, by its card alone. It waits
    -- until no reading has come for three sample intervals.
    ADD COLUMN guess_state text CHECK (guess_state IN ('waiting', 'used', 'refuted', 'superseded', 'withdrawn')),
    ADD COLUMN guessed_message_id bigint, -- in quarantined_messages
    ADD COLUMN guessed_meter_stop numeric(14, 1),
    ADD COLUMN guessed_stopped_at timestamptz, -- the charger's clock
    ADD COLUMN guessed_received_at timestamptz,
    ADD COLUMN guessed_reason text;
CREATE INDEX ocpp_transactions_guess_idx ON ocpp_transactions (guessed_received_at) WHERE guess_state = 'waiting';
CREATE INDEX ocpp_transactions_open_idx ON ocpp_transactions (received_at) WHERE status = 'active';
-- The charge that began next on a connector.
CREATE INDEX ocpp_transactions_next_idx ON ocpp_transactions (station_id, connector_id, id);
