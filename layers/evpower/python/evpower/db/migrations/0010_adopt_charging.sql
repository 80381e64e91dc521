-- Takes over sessions, transactions and meter values of an earlier database (set aside by 0000).
--
-- Sessions that the earlier system left `started` hold a reserve that was taken from a balance:
--   * the newest of each client and connector goes on: `charging` when it has a transaction, so that the charger's
--     next reading and its StopTransaction find it, else `pending`. The hanging-session rules then settle it by the
--     meter or refund it, as for any session of ours;
--   * one that cannot be live beside it is closed here: what the meter shows is billed, the rest goes back to the
--     client (the ledger row follows in 0011). Its transaction stays known, so a late StopTransaction still reconciles.
SET LOCAL timezone = 'UTC';

DO $$
DECLARE
    copied bigint;
    month timestamptz;
BEGIN
    IF to_regnamespace('legacy_v1') IS NULL THEN
        RETURN;
    END IF;

    -- Every calculated price was written to history; sessions find theirs by the id that is kept in `details`.
    INSERT INTO public.pricing_history (station_id, client_id, session_id, rate_per_kwh, rate_per_minute, session_fee,
        parking_fee_per_minute, currency, active_rule, tariff_plan_id, rule_id, details, created_at)
    SELECT r ->> 'station_id', r ->> 'client_id', r ->> 'session_id', coalesce(legacy_v1.number(r ->> 'rate_per_kwh', 1e8), 0),
           coalesce(legacy_v1.number(r ->> 'rate_per_minute', 1e8), 0), coalesce(legacy_v1.som(r ->> 'session_fee'), 0),
           coalesce(legacy_v1.number(r ->> 'parking_fee_per_minute', 1e8), 0), coalesce(r ->> 'currency', 'KGS'),
           r ->> 'active_rule', r ->> 'tariff_plan_id', r ->> 'rule_id', jsonb_build_object('v1_id', r ->> 'id'),
           coalesce((r ->> 'created_at')::timestamptz, now())
      FROM legacy_v1.rows('pricing_history') r;

    -- Transactions get the number that the charger knows, once: the earlier numbers (epoch seconds) can repeat.
    CREATE TEMP TABLE adopted_transactions ON COMMIT DROP AS
    SELECT *, NULL::integer AS ocpp_id,
           row_number() OVER (PARTITION BY number ORDER BY is_open DESC, started_at DESC, v1_id DESC) AS number_rank,
           row_number() OVER (PARTITION BY station_id, connector_id, upper(id_tag), meter_start, started_at
                              ORDER BY v1_id) AS content_rank,
           row_number() OVER (PARTITION BY session_id ORDER BY is_open DESC, started_at DESC, v1_id DESC) AS session_rank
      FROM (SELECT (r ->> 'id')::bigint AS v1_id,
                   legacy_v1.number(r ->> 'transaction_id', 2147483648)::bigint AS number,
                   r ->> 'station_id' AS station_id, coalesce((r ->> 'connector_id')::integer, 1) AS connector_id,
                   left(coalesce(nullif(r ->> 'id_tag', ''), 'unknown'), 20) AS id_tag,
                   round(coalesce(legacy_v1.number(r ->> 'meter_start', 1e12), 0), 1) AS meter_start,
                   round(legacy_v1.number(r ->> 'meter_stop', 1e12), 1) AS meter_stop,
                   coalesce((r ->> 'start_timestamp')::timestamptz, (r ->> 'created_at')::timestamptz, now()) AS started_at,
                   coalesce((r ->> 'created_at')::timestamptz, (r ->> 'start_timestamp')::timestamptz, now()) AS received_at,
                   (r ->> 'stop_timestamp')::timestamptz AS stopped_at, r ->> 'stop_reason' AS stop_reason,
                   r ->> 'charging_session_id' AS session_id,
                   r ->> 'meter_stop' IS NULL AND r ->> 'stop_timestamp' IS NULL
                       AND lower(coalesce(r ->> 'status', 'started')) NOT IN ('stopped', 'completed') AS is_open
              FROM legacy_v1.rows('ocpp_transactions') r
              JOIN public.stations s ON s.id = r ->> 'station_id') source;
    ANALYZE adopted_transactions;
    UPDATE adopted_transactions SET ocpp_id = number WHERE number_rank = 1 AND number > 0;
    -- Small numbers of theirs push our sequence; epoch seconds are far above what it will reach.
    PERFORM setval('public.ocpp_transaction_id_seq', greatest(max(ocpp_id), 1))
       FROM adopted_transactions WHERE ocpp_id < 1000000000;
    UPDATE adopted_transactions SET ocpp_id = nextval('public.ocpp_transaction_id_seq') WHERE ocpp_id IS NULL;

    ANALYZE public.stations, public.pricing_history;
    CREATE TEMP TABLE adopted_sessions ON COMMIT DROP AS
    WITH source AS (
        SELECT r ->> 'id' AS id, coalesce(nullif(r ->> 'user_id', ''), 'unlinked-in-v1') AS user_id,
               r ->> 'station_id' AS station_id,
               greatest(coalesce(t.connector_id, (r ->> 'connector_id')::integer, 1), 1) AS connector_id,
               coalesce(t.id_tag, 'V1' || upper(left(md5(r ->> 'id'), 14))) AS id_tag,
               lower(r ->> 'status') IN ('started', 'charging', 'preparing', 'active', 'pending')
                   AND NOT coalesce((r ->> 'payment_processed')::boolean, false) AS is_open,
               lower(r ->> 'status') IN ('error', 'failed', 'canceled', 'cancelled') AS is_error,
               coalesce((r ->> 'payment_processed')::boolean, false) AS was_settled,
               CASE WHEN r ->> 'limit_type' IN ('energy', 'amount') THEN r ->> 'limit_type' ELSE 'none' END AS limit_type,
               coalesce(legacy_v1.number(r ->> 'limit_value', 1e8), 0) AS limit_value,
               -- not every version wrote it: NULL or 0 then, and the ledger row or `amount` has it
               coalesce(nullif(legacy_v1.positive(r ->> 'reserved_amount'), 0), ledger.reserve) AS reserved,
               legacy_v1.positive(r ->> 'amount') AS amount, legacy_v1.positive(r ->> 'final_amount') AS final_amount,
               -- the session's own kWh, else the registers' Wh
               round(greatest(coalesce(legacy_v1.number(r ->> 'energy', 1e6) * 1000, t.meter_stop - t.meter_start,
                                       meter.register - t.meter_start, 0), 0), 1) AS energy_wh,
               coalesce(h.rate_per_kwh, nullif(s.price_per_kwh, 0), 13.5) AS rate,
               coalesce(h.rate_per_minute, 0) AS rate_per_minute, coalesce(h.session_fee, s.session_fee, 0) AS fee,
               coalesce(h.active_rule, 'earlier system') AS rule, h.id AS history_id,
               coalesce((r ->> 'created_at')::timestamptz, (r ->> 'start_time')::timestamptz, now()) AS created_at,
               coalesce((r ->> 'start_time')::timestamptz, (r ->> 'created_at')::timestamptz, now()) AS start_time,
               coalesce((r ->> 'stop_time')::timestamptz, t.stopped_at) AS stop_time,
               t.ocpp_id, t.meter_start, t.meter_stop, t.started_at, t.is_open AS has_open_transaction, meter.last_at,
               ledger.refunded
          FROM legacy_v1.rows('charging_sessions') r
          JOIN public.stations s ON s.id = r ->> 'station_id'
          LEFT JOIN adopted_transactions t ON t.session_id = r ->> 'id' AND t.session_rank = 1
          -- the price it names, else the first that names it
          LEFT JOIN (SELECT details ->> 'v1_id' AS v1_id, min(id) AS id FROM public.pricing_history GROUP BY 1) named
                 ON named.v1_id = r ->> 'pricing_history_id'
          LEFT JOIN (SELECT session_id, min(id) AS id FROM public.pricing_history GROUP BY 1) naming
                 ON naming.session_id = r ->> 'id'
          LEFT JOIN public.pricing_history h ON h.id = coalesce(named.id, naming.id)
          LEFT JOIN (SELECT m ->> 'ocpp_transaction_id' AS v1_id, max((m ->> 'created_at')::timestamptz) AS last_at,
                            max(legacy_v1.number(m ->> 'energy_active_import_register', 1e12)) AS register
                       FROM legacy_v1.rows('ocpp_meter_values') m GROUP BY 1) meter ON meter.v1_id = t.v1_id::text
          LEFT JOIN (SELECT l ->> 'charging_session_id' AS session_id,
                            max(abs(legacy_v1.som(l ->> 'amount'))) FILTER (WHERE l ->> 'transaction_type' = 'charge_reserve') AS reserve,
                            bool_or(l ->> 'transaction_type' = 'charge_refund') AS refunded
                       FROM legacy_v1.rows('payment_transactions_odengi') l GROUP BY 1) ledger ON ledger.session_id = r ->> 'id'
    ), ranked AS (
        SELECT *, is_open AND row_number() OVER (PARTITION BY is_open, user_id
                      ORDER BY has_open_transaction DESC NULLS LAST, created_at DESC, id) = 1 AS first_of_client
          FROM source)
    SELECT *, first_of_client AND row_number() OVER (PARTITION BY first_of_client, station_id, connector_id
                  ORDER BY has_open_transaction DESC NULLS LAST, created_at DESC, id) = 1 AS goes_on,
           -- what the earlier system took: the reserve while open, the bill after
           CASE WHEN is_open THEN coalesce(reserved, amount, 0)
                WHEN is_error AND energy_wh = 0 THEN 0
                ELSE coalesce(final_amount, amount, 0) END AS taken,
           round(extract(epoch FROM coalesce(stop_time, last_at, start_time) - coalesce(started_at, start_time))::numeric / 60, 2)
               AS minutes
      FROM ranked;
    ALTER TABLE adopted_sessions ADD COLUMN due numeric(12, 2);
    UPDATE adopted_sessions SET due = CASE
        WHEN NOT is_open THEN taken
        WHEN energy_wh = 0 THEN 0
        ELSE least(taken, round(energy_wh / 1000 * rate + greatest(minutes, 0) * rate_per_minute + fee, 2)) END;

    INSERT INTO public.charging_sessions (id, user_id, station_id, connector_id, id_tag, state, limit_type, limit_value,
        price, pricing_history_id, reserved_amount, reserve_count, taken_amount, adopted_amount, amount, base_amount,
        final_amount, refund_amount, settlement_revision, created_at, start_time, charging_started_at, stop_time,
        ocpp_transaction_id, meter_start, meter_current, energy_wh, settled_energy_wh, last_meter_at, stop_reason, stop_initiator,
        needs_review, review_reasons)
    SELECT id, user_id, station_id, connector_id, id_tag,
           CASE WHEN goes_on THEN CASE WHEN has_open_transaction THEN 'charging' ELSE 'pending' END
                WHEN energy_wh = 0 AND (is_error OR is_open) THEN 'error' ELSE 'stopped' END,
           limit_type, limit_value,
           jsonb_build_object('rate_per_kwh', rate::text, 'rate_per_minute', rate_per_minute::text,
                              'session_fee', fee::text, 'active_rule', rule),
           history_id, coalesce(reserved, taken), CASE WHEN coalesce(reserved, taken) > 0 THEN 1 ELSE 0 END,
           CASE WHEN goes_on THEN taken ELSE due END, taken, due,
           CASE WHEN NOT goes_on THEN due END, CASE WHEN NOT goes_on THEN due END,
           CASE WHEN goes_on THEN 0 ELSE greatest(coalesce(reserved, taken) - due, 0) END,
           CASE WHEN goes_on THEN 0 ELSE 1 END,
           created_at, start_time, started_at,
           CASE WHEN NOT goes_on THEN coalesce(stop_time, last_at, start_time) END,
           CASE WHEN NOT goes_on OR has_open_transaction THEN ocpp_id END,
           meter_start, meter_start + energy_wh, energy_wh, CASE WHEN NOT goes_on THEN energy_wh END,
           CASE WHEN started_at IS NOT NULL THEN coalesce(last_at, started_at) END,
           CASE WHEN is_open AND NOT goes_on THEN 'closed_at_takeover' END,
           CASE WHEN is_open AND NOT goes_on THEN 'sweep' END,
           -- reserved, never settled, never refunded, no energy: only people can say where that money went
           suspicious, CASE WHEN suspicious THEN ARRAY['v1_reserve_unaccounted'] ELSE '{}' END
      FROM adopted_sessions,
           LATERAL (SELECT NOT is_open AND NOT was_settled AND coalesce(reserved, 0) > 0 AND NOT coalesce(refunded, false)
                           AND due = 0 AS suspicious) flags;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('sessions', (SELECT count(*) FROM legacy_v1.rows('charging_sessions')), copied);
    UPDATE public.pricing_history p SET session_id = s.id FROM public.charging_sessions s WHERE s.pricing_history_id = p.id;

    INSERT INTO public.settlements (session_id, revision, source, energy_wh, minutes, due_amount, taken_before, taken_after,
        created_at)
    SELECT id, 1, 'earlier_system', energy_wh, greatest(minutes, 0), due, taken, due, coalesce(stop_time, start_time)
      FROM adopted_sessions WHERE NOT goes_on;

    -- Live sessions hold their connector, also one that only their transaction knew of.
    INSERT INTO public.connectors (station_id, connector_number)
    SELECT DISTINCT station_id, connector_id FROM adopted_sessions WHERE goes_on AND connector_id <= 100
    ON CONFLICT (station_id, connector_number) DO NOTHING;
    UPDATE public.connectors c SET live_session_id = a.id FROM adopted_sessions a
     WHERE a.goes_on AND a.station_id = c.station_id AND a.connector_id = c.connector_number;

    -- The exact repeat of a StartTransaction (another row then, one row now) is moved by a microsecond a repeat.
    INSERT INTO public.ocpp_transactions (id, station_id, connector_id, id_tag, meter_start, started_at, received_at,
        session_id, status, meter_stop, stopped_at, stop_received_at, stop_reason, needs_review, review_reason)
    SELECT t.ocpp_id, t.station_id, t.connector_id, t.id_tag, t.meter_start,
           t.started_at + (t.content_rank - 1) * interval '1 microsecond', t.received_at, s.id,
           CASE WHEN t.is_open AND s.id IS NOT NULL THEN 'active' ELSE 'stopped' END,
           t.meter_stop, t.stopped_at, t.stopped_at, t.stop_reason,
           t.content_rank > 1 OR (t.is_open AND s.id IS NULL),
           CASE WHEN t.content_rank > 1 THEN 'v1_duplicate' WHEN t.is_open AND s.id IS NULL THEN 'v1_never_stopped' END
      FROM adopted_transactions t LEFT JOIN public.charging_sessions s ON s.id = t.session_id;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('transactions', (SELECT count(*) FROM legacy_v1.rows('ocpp_transactions')), copied);

    FOR month IN
        SELECT DISTINCT date_trunc('month', (m ->> 'created_at')::timestamptz) FROM legacy_v1.rows('ocpp_meter_values') m
         WHERE (m ->> 'created_at')::timestamptz BETWEEN '2020-01-01' AND now() + interval '1 month'
    LOOP
        PERFORM public.evpower_make_meter_partition(month);
    END LOOP;
    INSERT INTO public.ocpp_meter_values (station_id, connector_id, transaction_id, session_id, received_at, sampled_at,
        energy_wh, power_w, current_a, voltage_v, soc_percent, temperature_c, flags, raw)
    SELECT m ->> 'station_id', coalesce((m ->> 'connector_id')::integer, 1), t.ocpp_id, s.id,
           coalesce((m ->> 'created_at')::timestamptz, (m ->> 'timestamp')::timestamptz, now()),
           (m ->> 'timestamp')::timestamptz, legacy_v1.number(m ->> 'energy_active_import_register', 1e12),
           legacy_v1.number(m ->> 'power_active_import', 1e10), legacy_v1.number(m ->> 'current_import', 1e7),
           legacy_v1.number(m ->> 'voltage', 1e7), legacy_v1.number(m ->> 'soc', 1e3),
           legacy_v1.number(m ->> 'temperature', 1e4), ARRAY['v1'], coalesce(m -> 'sampled_values', '{}')
      FROM legacy_v1.rows('ocpp_meter_values') m
      LEFT JOIN adopted_transactions t ON t.v1_id = (m ->> 'ocpp_transaction_id')::bigint
      LEFT JOIN public.charging_sessions s ON s.id = t.session_id;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('meter values', (SELECT count(*) FROM legacy_v1.rows('ocpp_meter_values')), copied);

    INSERT INTO public.id_tags (id_tag, client_id, status, expires_at, parent_id_tag)
    SELECT DISTINCT ON (upper(r ->> 'id_tag')) r ->> 'id_tag', (SELECT id FROM public.clients WHERE id = r ->> 'user_id'),
           CASE WHEN lower(r ->> 'status') IN ('accepted', 'active') THEN 'active' ELSE 'blocked' END,
           (r ->> 'expiry_date')::timestamptz, r ->> 'parent_id_tag'
      FROM legacy_v1.rows('ocpp_authorization') r WHERE char_length(r ->> 'id_tag') BETWEEN 1 AND 20
     ORDER BY upper(r ->> 'id_tag'), lower(r ->> 'status') = 'accepted'; -- the stricter of two wins
    INSERT INTO public.ocpp_configuration (station_id, key, value, is_readonly)
    SELECT DISTINCT ON (r ->> 'station_id', r ->> 'key') r ->> 'station_id', r ->> 'key', r ->> 'value',
           coalesce((r ->> 'readonly')::boolean, false)
      FROM legacy_v1.rows('ocpp_configuration') r JOIN public.stations s ON s.id = r ->> 'station_id'
     WHERE r ->> 'key' IS NOT NULL ORDER BY r ->> 'station_id', r ->> 'key', r ->> 'id' DESC;
    INSERT INTO public.promo_code_usage (promo_code_id, client_id, session_id, discount_amount)
    SELECT DISTINCT ON (s.id) p.id, s.user_id, s.id, coalesce(legacy_v1.som(r ->> 'discount_amount'), 0)
      FROM legacy_v1.rows('promo_code_usage') r JOIN public.promo_codes p ON p.id = r ->> 'promo_code_id'
      JOIN public.charging_sessions s ON s.id = r ->> 'session_id';
END
$$;
