-- What the energy of a session is known from, and registers that count kWh (docs/decisions/0013). The code before this
-- leaves the new columns as they are: no source means the register, as it always was.

ALTER TABLE charging_sessions
    ADD COLUMN energy_source text CHECK (energy_source IN ('register', 'interval', 'power')), -- the last two: estimates
    ADD COLUMN meter_memory jsonb, -- what the meter remembers beside its register (evpower.charging.models.MeterMemory)
    ADD COLUMN register_factor integer NOT NULL DEFAULT 1 CHECK (register_factor IN (1, 1000));

-- Confirmed by staff: Wh that the station's registers count where they say 1. Holds for transactions that begin later.
ALTER TABLE stations
    ADD COLUMN register_factor integer NOT NULL DEFAULT 1 CHECK (register_factor IN (1, 1000));
