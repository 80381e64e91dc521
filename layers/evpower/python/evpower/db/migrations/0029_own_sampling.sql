-- How often a charger really samples, and settings that it does not keep.

ALTER TABLE stations
    -- Seconds between two readings of a transaction by its configuration; 0: it sends none by itself.
    ADD COLUMN sample_interval_s integer CHECK (sample_interval_s BETWEEN 0 AND 86400),
    -- What its readings showed, where that is something else.
    ADD COLUMN observed_interval_s integer CHECK (observed_interval_s BETWEEN 1 AND 86400);

-- Keys whose value is not the one that we want, although it was set, or because it cannot be set.
CREATE TABLE configuration_disputes (
    station_id text NOT NULL REFERENCES stations (id) ON DELETE CASCADE,
    key text NOT NULL, -- in lower case
    wanted text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    given_up_at timestamptz,
    PRIMARY KEY (station_id, key)
);

SELECT evpower_protect_table('configuration_disputes');

-- What is known already: the value that the charger's configuration had when it was read last.
UPDATE stations s
   SET sample_interval_s = c.value::integer
  FROM ocpp_configuration c
 WHERE c.station_id = s.id AND lower(c.key) = 'metervaluesampleinterval' AND c.value ~ '^\s*\d{1,5}\s*$'
   AND c.value::integer <= 86400;
