"""The local authorization list of a charger (OCPP 1.6 sections 3.5.2, 5.10 and 5.15): wanted here, held there."""
