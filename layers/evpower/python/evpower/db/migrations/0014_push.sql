-- Delivery of push notifications (mobile-api.md §6).

-- One row is one event for one person; it goes to each of the person's addresses (devices, web push subscriptions).
ALTER TABLE push_outbox
    ADD COLUMN delivered_to text[] NOT NULL DEFAULT '{}', -- addresses that have it; a retry spares them
    ADD COLUMN handed_at timestamptz,                     -- when the sweep last put it into the queue
    ADD COLUMN correlation_id text;

-- The language of the texts; the app's at the time of registration.
ALTER TABLE devices
    ADD COLUMN language text NOT NULL DEFAULT 'ru' CHECK (language IN ('ru', 'ky', 'en'));
ALTER TABLE push_subscriptions
    ADD COLUMN language text NOT NULL DEFAULT 'ru' CHECK (language IN ('ru', 'ky', 'en'));

-- A browser has one endpoint whoever is signed in, and it belongs to who signed in last.
CREATE INDEX push_subscriptions_endpoint_idx ON push_subscriptions (endpoint);
