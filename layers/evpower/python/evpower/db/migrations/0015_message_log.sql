-- The message log of the socket tier: what was said to and by each charger, for operators. Kept for a few days, in
-- daily partitions (UTC days of received_at) that leave whole. Written in batches, never waited for.

CREATE TABLE station_messages (
    id bigint GENERATED ALWAYS AS IDENTITY,
    station_id text NOT NULL, -- as the charger named itself where an upgrade was refused
    received_at timestamptz NOT NULL, -- when the CALL came in or went out; of an event, when it happened
    direction text NOT NULL CHECK (direction IN ('in', 'out', 'event')), -- in: the charger's CALL, out: ours
    action text,      -- NULL: a frame that names none
    message_id text,
    request text,     -- the CALL as it was on the wire, secrets masked; of an event its details
    response text,    -- what answered it
    error text,       -- NULL: all went well
    latency_ms real,  -- from the CALL to its answer
    is_truncated boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (received_at);
CREATE TABLE station_messages_default PARTITION OF station_messages DEFAULT;
CREATE INDEX station_messages_station_idx ON station_messages (station_id, received_at, id);
CREATE INDEX station_messages_error_idx ON station_messages (station_id, received_at, id) WHERE error IS NOT NULL;

SELECT evpower_protect_table('station_messages');
REVOKE UPDATE, DELETE ON station_messages FROM evpower_worker, service_role;
REVOKE ALL ON station_messages_default FROM PUBLIC, anon, authenticated, service_role;
ALTER TABLE station_messages_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE station_messages_default FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON station_messages_default TO CURRENT_USER USING (true) WITH CHECK (true);
-- Operators read it through the API, which keeps to their stations.
GRANT SELECT ON station_messages TO evpower_api;
CREATE POLICY api_staff ON station_messages FOR SELECT TO evpower_api USING (evpower_scope_is_wide());

-- Make the partition of the day that holds `moment`; true when it was missing. What fell into the DEFAULT partition
-- stays there and leaves by rows: moving a log is not worth a lock.
CREATE FUNCTION evpower_make_message_partition(moment timestamptz) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz := date_trunc('day', moment);
    after timestamptz := first + interval '1 day';
    name text := 'station_messages_' || to_char(first, 'YYYY_MM_DD');
BEGIN
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock(4807221033);
    IF to_regclass('public.' || name) IS NOT NULL
       OR EXISTS (SELECT FROM public.station_messages_default WHERE received_at >= first AND received_at < after) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.station_messages INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated, service_role', name);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner_all ON public.%I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
    EXECUTE format('ALTER TABLE public.station_messages ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                   name, first, after);
    RETURN true;
END
$$;

-- Make the partitions of today and of the next `ahead` days; answers how many were missing.
CREATE FUNCTION evpower_ensure_message_partitions(ahead integer DEFAULT 7) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    made integer := 0;
BEGIN
    FOR step IN 0..ahead LOOP
        IF public.evpower_make_message_partition(date_trunc('day', now()) + make_interval(days => step)) THEN
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END
$$;

-- Drop the oldest partition that ended before `horizon`; answers its name, NULL when there is none.
CREATE FUNCTION evpower_drop_message_partition(horizon timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    oldest text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(4807221033);
    SELECT c.relname INTO oldest
      FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'public.station_messages'::regclass AND c.relname ~ '^station_messages_\d{4}_\d\d_\d\d$'
       AND to_date(right(c.relname, 10), 'YYYY_MM_DD') + interval '1 day' <= horizon
     ORDER BY c.relname LIMIT 1;
    IF oldest IS NOT NULL THEN
        EXECUTE format('DROP TABLE public.%I', oldest);
    END IF;
    RETURN oldest;
END
$$;

-- Rows of a day that nobody prepared lie in the DEFAULT partition and leave by rows.
CREATE FUNCTION evpower_purge_unfiled_messages(horizon timestamptz, batch integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    deleted integer;
BEGIN
    DELETE FROM public.station_messages_default WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM public.station_messages_default WHERE received_at < horizon
         LIMIT batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

REVOKE ALL ON FUNCTION evpower_make_message_partition(timestamptz), evpower_ensure_message_partitions(integer),
    evpower_drop_message_partition(timestamptz), evpower_purge_unfiled_messages(timestamptz, integer)
    FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION evpower_ensure_message_partitions(integer), evpower_drop_message_partition(timestamptz),
    evpower_purge_unfiled_messages(timestamptz, integer) TO evpower_worker;

SELECT evpower_ensure_message_partitions();
