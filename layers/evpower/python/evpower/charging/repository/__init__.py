"""All SQL of charging: sessions, OCPP transactions, meter values, sweeps."""
