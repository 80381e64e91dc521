-- Takes over top-ups and balances of an earlier database (set aside by 0000) and proves that no som is lost.
--
-- The earlier ledger does not add up (shifted balances, refunds without rows), so it stays in legacy_v1 as history.
-- Ours begins with one `opening_balance` row a client; from then on balance = sum of the ledger.
SET LOCAL timezone = 'UTC';

DO $$
DECLARE
    copied bigint;
    numeric_ids boolean;
    strays text;
BEGIN
    IF to_regnamespace('legacy_v1') IS NULL THEN
        RETURN;
    END IF;

    SELECT coalesce(bool_and(r ->> 'id' ~ '^\d{1,15}$'), false) INTO numeric_ids FROM legacy_v1.rows('balance_topups') r;
    ANALYZE public.clients, public.charging_sessions;
    CREATE TEMP TABLE adopted_topups ON COMMIT DROP AS
    WITH source AS (
        SELECT r, lower(r ->> 'status') AS word,
               coalesce(nullif(r ->> 'client_id', ''), 'unlinked-in-v1') AS client_id,
               nullif(r ->> 'order_id', '') AS order_id, nullif(r ->> 'invoice_id', '') AS invoice_id,
               coalesce((r ->> 'created_at')::timestamptz, now()) AS created_at,
               coalesce((r ->> 'invoice_expires_at')::timestamptz,
                        coalesce((r ->> 'created_at')::timestamptz, now()) + interval '5 minutes') AS expires_at,
               nullif(greatest(legacy_v1.som(r ->> 'paid_amount'), 0), 0) AS paid,
               -- the row in the earlier ledger says it best: this money is in the balance
               credit.amount AS credit
          FROM legacy_v1.rows('balance_topups') r
          LEFT JOIN (SELECT l ->> 'balance_topup_id' AS topup_id, sum(legacy_v1.som(l ->> 'amount')) AS amount
                       FROM legacy_v1.rows('payment_transactions_odengi') l
                      WHERE l ->> 'transaction_type' = 'balance_topup' AND legacy_v1.som(l ->> 'amount') > 0
                      GROUP BY 1) credit ON credit.topup_id = r ->> 'id'
    ), judged AS (
        SELECT *, credit IS NOT NULL
                  OR word IN ('approved', 'paid', 'completed', 'success', 'refunded', 'partial_refund', 'partial_refunded')
                  AS credited,
               coalesce(invoice_id, order_id) IS NOT NULL AS payable,
               count(*) OVER (PARTITION BY order_id) > 1 AND order_id IS NOT NULL AS order_repeats,
               row_number() OVER (PARTITION BY invoice_id ORDER BY created_at, r ->> 'id') = 1 AS invoice_is_first
          FROM source)
    SELECT *, NOT credited AND payable AND NOT order_repeats AND word IN ('processing', 'pending', 'created', 'waiting')
              AND expires_at > now()
              AND row_number() OVER (PARTITION BY client_id, credited OR order_repeats OR NOT payable
                                     ORDER BY expires_at DESC, created_at DESC) = 1 AS is_live
      FROM judged;

    -- Everything that was not credited is asked about (once more, if it is long over): the earlier system forgot
    -- canceled and expired invoices, and the provider may hold paid ones. Spread out, so that today's come through.
    INSERT INTO public.balance_topups (id, client_id, order_id, invoice_id, merchant_id, payment_provider,
        requested_amount, paid_amount, refunded_amount, currency, status, status_reason, invoice_state, odengi_status,
        description, qr_code_url, app_link, qr_expires_at, invoice_expires_at, paid_at, completed_at, canceled_at,
        needs_status_check, next_check_at, last_status_check_at, status_check_count, credited_earlier, created_at)
    SELECT CASE WHEN numeric_ids THEN (r ->> 'id')::bigint
                ELSE nextval(pg_get_serial_sequence('public.balance_topups', 'id')) END,
           client_id,
           -- Two orders of one second share their id at the provider: asked by it, one could be credited for the other.
           CASE WHEN order_id IS NULL OR order_repeats OR char_length(order_id) > 64 THEN left('v1-' || (r ->> 'id'), 64)
                ELSE order_id END,
           CASE WHEN invoice_is_first THEN invoice_id END, r ->> 'merchant_id',
           coalesce(upper(r ->> 'payment_provider'), 'ODENGI'),
           greatest(coalesce(legacy_v1.som(r ->> 'requested_amount'), paid, 0), 0.01),
           CASE WHEN credited THEN coalesce(paid, credit, greatest(legacy_v1.som(r ->> 'requested_amount'), 0.01)) END,
           CASE WHEN word = 'refunded' THEN coalesce(paid, credit, legacy_v1.som(r ->> 'requested_amount'), 0)
                ELSE coalesce(greatest(legacy_v1.som(r ->> 'refunded_amount'), 0), 0) END,
           coalesce(r ->> 'currency', 'KGS'),
           CASE WHEN credited THEN 'approved' WHEN is_live THEN 'processing'
                WHEN word IN ('canceled', 'cancelled') THEN 'canceled'
                WHEN word IN ('failed', 'error', 'rejected') OR NOT payable THEN 'failed' ELSE 'expired' END,
           CASE WHEN credited OR is_live THEN NULL WHEN order_repeats THEN 'v1_order_repeats'
                WHEN word IN ('canceled', 'cancelled') THEN 'provider' WHEN NOT payable THEN 'rejected' ELSE 'expired' END,
           CASE WHEN invoice_id IS NOT NULL THEN 'created' WHEN order_id IS NOT NULL THEN 'unknown' ELSE 'refused' END,
           r ->> 'odengi_status', r ->> 'description', r ->> 'qr_code_url', r ->> 'app_link',
           (r ->> 'qr_expires_at')::timestamptz, expires_at,
           CASE WHEN credited THEN coalesce((r ->> 'paid_at')::timestamptz, (r ->> 'completed_at')::timestamptz, created_at) END,
           CASE WHEN NOT is_live THEN coalesce((r ->> 'completed_at')::timestamptz, (r ->> 'paid_at')::timestamptz, expires_at) END,
           CASE WHEN word IN ('canceled', 'cancelled') AND NOT credited THEN expires_at END,
           NOT credited AND payable AND NOT order_repeats,
           CASE WHEN NOT credited AND payable AND NOT order_repeats
                THEN now() + row_number() OVER (ORDER BY is_live DESC, created_at DESC) * interval '1 second' END,
           (r ->> 'last_status_check_at')::timestamptz, coalesce((r ->> 'status_check_count')::integer, 0),
           credited, created_at
      FROM adopted_topups;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('top-ups', (SELECT count(*) FROM legacy_v1.rows('balance_topups')), copied);
    PERFORM setval(pg_get_serial_sequence('public.balance_topups', 'id'),
                   greatest((SELECT max(id) FROM public.balance_topups), 1));
    SELECT string_agg(r ->> 'id', ', ') INTO strays FROM adopted_topups WHERE order_repeats AND NOT credited;
    IF strays IS NOT NULL THEN
        RAISE WARNING 'top-ups % share an order id: ask the provider about them by hand, by their invoices', strays;
    END IF;

    -- Opening balances. A debt cannot be carried in a prepaid account: it is written off, visibly.
    CREATE TEMP TABLE adopted_balances ON COMMIT DROP AS
    SELECT c.id, coalesce(legacy_v1.som(r ->> 'balance'), 0) AS v1_balance,
           greatest(coalesce(legacy_v1.som(r ->> 'balance'), 0), 0) AS opening, c.created_at
      FROM public.clients c LEFT JOIN legacy_v1.rows('clients') r ON r ->> 'id' = c.id;
    SELECT string_agg(r ->> 'id', ', ') INTO strays FROM legacy_v1.rows('clients') r
     WHERE r ->> 'balance' IS NOT NULL AND legacy_v1.som(r ->> 'balance') IS NULL;
    IF strays IS NOT NULL THEN
        RAISE EXCEPTION 'the balances of clients % are no amounts', strays;
    END IF;
    INSERT INTO public.payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after,
        source_key, description)
    SELECT id, 'opening_balance', opening, 0, opening, 'opening:' || id, 'Balance taken over from the earlier system'
      FROM adopted_balances ORDER BY created_at, id;
    INSERT INTO public.write_offs (client_id, amount, reason)
    SELECT id, -v1_balance, 'negative_balance_taken_over' FROM adopted_balances WHERE v1_balance < 0;

    -- The rest of the reserves of sessions that 0010 closed.
    INSERT INTO public.payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after,
        source_key, charging_session_id, description)
    SELECT s.user_id, 'charge_refund', refund, b.opening + sum(refund) OVER before_and_this - refund,
           b.opening + sum(refund) OVER before_and_this, 'settle:' || s.id || ':1', s.id,
           'Reserve of a session closed at the takeover'
      FROM public.charging_sessions s JOIN adopted_balances b ON b.id = s.user_id,
           LATERAL (SELECT s.adopted_amount - s.taken_amount AS refund) r
     WHERE s.stop_reason = 'closed_at_takeover' AND refund > 0
    WINDOW before_and_this AS (PARTITION BY s.user_id ORDER BY s.created_at, s.id)
     ORDER BY s.created_at, s.id;
    UPDATE public.clients c SET balance = l.total
      FROM (SELECT client_id, sum(amount) AS total FROM public.payment_transactions_odengi GROUP BY 1) l
     WHERE l.client_id = c.id;

    -- Nothing is lost: som by som.
    PERFORM legacy_v1.same('som of positive balances and returned reserves',
        (SELECT coalesce(sum(greatest(legacy_v1.som(r ->> 'balance'), 0)), 0) FROM legacy_v1.rows('clients') r)
        + (SELECT coalesce(sum(adopted_amount - taken_amount), 0) FROM public.charging_sessions),
        (SELECT coalesce(sum(balance), 0) FROM public.clients));
    PERFORM legacy_v1.same('som of written-off debts',
        (SELECT coalesce(-sum(least(legacy_v1.som(r ->> 'balance'), 0)), 0) FROM legacy_v1.rows('clients') r),
        (SELECT coalesce(sum(amount), 0) FROM public.write_offs));
    PERFORM legacy_v1.same('clients without exactly one opening balance', 0, (SELECT count(*) FROM public.clients c
        WHERE 1 <> (SELECT count(*) FROM public.payment_transactions_odengi l
                     WHERE l.client_id = c.id AND l.transaction_type = 'opening_balance')));
    PERFORM legacy_v1.same('clients whose last ledger row is not their balance', 0, (SELECT count(*) FROM public.clients c
        WHERE c.balance IS DISTINCT FROM (SELECT l.balance_after FROM public.payment_transactions_odengi l
                                           WHERE l.client_id = c.id ORDER BY l.id DESC LIMIT 1)));

    INSERT INTO public.audit_logs (created_at, client_id, client_ip, operation, details)
    SELECT coalesce((r ->> 'timestamp')::timestamptz, (r ->> 'created_at')::timestamptz, now()), r ->> 'client_id',
           coalesce(r ->> 'client_ip', r ->> 'ip_address'),
           coalesce(r ->> 'operation', r ->> 'action', 'unknown'), (r - 'amount') || '{"source": "v1"}'
      FROM legacy_v1.rows('audit_logs') r;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('audit rows', (SELECT count(*) FROM legacy_v1.rows('audit_logs')), copied);
END
$$;
