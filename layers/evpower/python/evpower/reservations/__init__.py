"""Reservations of connectors (OCPP 1.6 sections 5.2 and 5.13): asked for, kept by the charger, used or over."""
