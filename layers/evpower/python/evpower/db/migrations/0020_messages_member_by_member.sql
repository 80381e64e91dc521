-- Transaction messages are saved member by member (docs/decisions/0012). Where a member could not be read and was
-- replaced by what is known, e.g. the time by that of receipt, a repeat is not recognised by the replacement, which
-- differs each time, but by the members as the charger wrote them. NULL: all were read.
ALTER TABLE ocpp_transactions
    ADD COLUMN start_as_sent text,
    ADD COLUMN stop_as_sent text;
CREATE UNIQUE INDEX ocpp_transactions_as_sent_idx ON ocpp_transactions (station_id, start_as_sent, repetition)
    WHERE start_as_sent IS NOT NULL;
