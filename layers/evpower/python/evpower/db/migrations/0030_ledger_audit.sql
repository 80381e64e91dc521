-- How far the ledger audit has come, and what it finds new and unfinished rows by (docs/decisions/0020).

CREATE TABLE ledger_audit_progress (
    audit text PRIMARY KEY, -- 'ledger'
    runs bigint NOT NULL DEFAULT 0,
    after_client text NOT NULL DEFAULT '', -- the last client looked at; '' at the begin of a lap
    lap_began_at timestamptz NOT NULL DEFAULT now(),
    -- What was there at the last run and at the one before. New is what came after the earlier of the two: a row whose
    -- transaction began before a run and ended after it is seen by the next.
    last_entry bigint NOT NULL DEFAULT 0,
    last_at timestamptz NOT NULL DEFAULT now(),
    earlier_entry bigint NOT NULL DEFAULT 0,
    earlier_at timestamptz NOT NULL DEFAULT now(),
    -- Of the last run: its findings, which are reported once, and their clients, who are looked at until they are sound.
    findings text[] NOT NULL DEFAULT '{}',
    suspects text[] NOT NULL DEFAULT '{}'
);
INSERT INTO ledger_audit_progress (audit, last_entry, earlier_entry)
SELECT 'ledger', newest, newest FROM (SELECT coalesce(max(id), 0) AS newest FROM payment_transactions_odengi) l;

SELECT evpower_protect_table('ledger_audit_progress');

CREATE INDEX settlements_created_idx ON settlements (created_at);
-- Always empty in sound books.
CREATE INDEX charging_sessions_never_settled_idx ON charging_sessions (id)
    WHERE state NOT IN ('pending', 'charging', 'stopping') AND settlement_revision = 0;
