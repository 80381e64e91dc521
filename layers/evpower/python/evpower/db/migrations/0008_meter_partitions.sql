-- Monthly partitions of ocpp_meter_values (UTC months of received_at), made ahead and dropped when they are old.
-- Both functions run as the owner, because the worker role may not change tables; only it may call them.

ALTER TABLE ocpp_meter_values_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE ocpp_meter_values_default FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON ocpp_meter_values_default TO CURRENT_USER USING (true) WITH CHECK (true);

-- Make the partition of the month that holds `moment`; true when it was missing.
-- Rows that fell into the DEFAULT partition meanwhile move over (a month nobody prepared must not lose them).
CREATE FUNCTION evpower_make_meter_partition(moment timestamptz) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz := date_trunc('month', moment);
    after timestamptz := first + interval '1 month';
    name text := 'ocpp_meter_values_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One maker at a time; inserts of readings wait only while a month is really added, which is once a month.
    PERFORM pg_catalog.pg_advisory_xact_lock(4807221032);
    IF to_regclass('public.' || name) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- The identity stays the parent's: a partition made by hand must not have one of its own.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.ocpp_meter_values INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated, service_role', name);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY owner_all ON public.%I TO CURRENT_USER USING (true) WITH CHECK (true)', name);
    IF EXISTS (SELECT FROM public.ocpp_meter_values_default WHERE received_at >= first AND received_at < after) THEN
        LOCK TABLE public.ocpp_meter_values_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('WITH moved AS (DELETE FROM public.ocpp_meter_values_default
                                        WHERE received_at >= %L AND received_at < %L RETURNING *)
                        INSERT INTO public.%I SELECT * FROM moved', first, after, name);
    END IF;
    EXECUTE format('ALTER TABLE public.ocpp_meter_values ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                   name, first, after);
    RETURN true;
END
$$;

-- Make the partitions of this month and of the next `ahead` months; answers how many were missing.
CREATE FUNCTION evpower_ensure_meter_partitions(ahead integer DEFAULT 2) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    made integer := 0;
BEGIN
    FOR step IN 0..ahead LOOP
        IF public.evpower_make_meter_partition(date_trunc('month', now()) + make_interval(months => step)) THEN
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END
$$;

-- Drop the oldest partition that ended before `horizon`; answers its name, NULL when there is none.
-- One a call, so that the caller's transactions stay short.
CREATE FUNCTION evpower_drop_meter_partition(horizon timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    oldest text;
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(4807221032);
    SELECT c.relname INTO oldest
      FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'public.ocpp_meter_values'::regclass AND c.relname ~ '^ocpp_meter_values_\d{4}_\d\d$'
       AND to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= horizon
     ORDER BY c.relname LIMIT 1;
    IF oldest IS NOT NULL THEN
        EXECUTE format('DROP TABLE public.%I', oldest);
    END IF;
    RETURN oldest;
END
$$;

REVOKE ALL ON FUNCTION evpower_make_meter_partition(timestamptz), evpower_ensure_meter_partitions(integer),
    evpower_drop_meter_partition(timestamptz) FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION evpower_ensure_meter_partitions(integer), evpower_drop_meter_partition(timestamptz)
    TO evpower_worker;

SELECT evpower_ensure_meter_partitions();
