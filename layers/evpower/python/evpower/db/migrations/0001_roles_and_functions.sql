-- Roles and the small functions that policies and generated columns use.
--
-- anon, authenticated and service_role exist already on Supabase. evpower_api (functions/api) obeys row level
-- security with the caller's claims; evpower_worker (webhook, sweeps, socket tier) has policies that let it through.
-- All are NOLOGIN here: the login users of a deployment are made members of them.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role', 'evpower_api', 'evpower_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- a concurrent migration of another database in the same cluster made it
            END;
        END IF;
    END LOOP;
    -- The owner must be able to become the two application roles (SET LOCAL ROLE in each transaction).
    FOREACH role_name IN ARRAY ARRAY['evpower_api', 'evpower_worker'] LOOP
        -- From version 16 on, creating a role makes its creator a member that may not SET ROLE to it yet.
        IF NOT pg_has_role(current_user, role_name,
                           CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
        THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        END IF;
    END LOOP;
END
$$;

-- A member of the caller's claims as text. Supabase's auth.uid() casts to uuid and fails on text ids, so policies
-- compare this instead. The same setting is used by PostgREST, so one policy serves the app and the API.
CREATE OR REPLACE FUNCTION evpower_claim(name text) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = ''
AS $$
    SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> name
$$;

-- True for work of the API that is not bound to one client: staff screens and system steps.
CREATE OR REPLACE FUNCTION evpower_scope_is_wide() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = ''
AS $$
    SELECT coalesce(public.evpower_claim('evp_scope') IN ('system', 'staff'), false)
$$;

-- Refuses every change of a row that must only ever be added (ledger, settlements, audit).
CREATE OR REPLACE FUNCTION evpower_refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = ''
AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE SEQUENCE IF NOT EXISTS station_epoch_seq AS bigint;
-- OCPP 1.6 transactionId is an int32 for many chargers.
CREATE SEQUENCE IF NOT EXISTS ocpp_transaction_id_seq AS integer MINVALUE 1 MAXVALUE 2147483647;
