-- When chargers could be heard (docs/decisions/0018).

-- Signs of life of the socket tier. A run: one process wrote a sign every few seconds, from `since` until `until`. Times
-- are the database's own. What ended a day ago is forgotten.
CREATE TABLE hearing_runs (
    id text PRIMARY KEY,
    instance_id text NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL
);
SELECT evpower_protect_table('hearing_runs');

-- From when on a station's silence counts, as far as the process that holds its socket is concerned: since it hears, or
-- since it does not any more. NULL: nobody holds it, or nobody knows who that was.
CREATE FUNCTION evpower_holder_since(instance text, hears_at timestamptz, clock_limit timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE WHEN r.until >= hears_at THEN r.since ELSE r.until END
      FROM public.hearing_runs r
     WHERE r.instance_id = instance AND r.until <= clock_limit
     ORDER BY r.until DESC LIMIT 1
$$;
REVOKE ALL ON FUNCTION evpower_holder_since(text, timestamptz, timestamptz) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION evpower_holder_since(text, timestamptz, timestamptz) TO evpower_worker, service_role;
