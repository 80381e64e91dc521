-- What the daily housekeeping deletes by age, it must find by age.
CREATE INDEX station_commands_age_idx ON station_commands (created_at) WHERE status NOT IN ('queued', 'sent');
CREATE INDEX rate_counters_age_idx ON rate_counters (window_start);

-- Months leave whole, as partitions. What fell into the DEFAULT partition leaves by rows; the worker has no right to
-- a partition itself, and through the parent a delete would look into every month.
CREATE FUNCTION evpower_purge_unfiled_meter_values(horizon timestamptz, batch integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    deleted integer;
BEGIN
    DELETE FROM public.ocpp_meter_values_default WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM public.ocpp_meter_values_default WHERE received_at < horizon
         LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION evpower_purge_unfiled_meter_values(timestamptz, integer)
    FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION evpower_purge_unfiled_meter_values(timestamptz, integer) TO evpower_worker;
