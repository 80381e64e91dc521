"""Charging profiles (OCPP 1.6 sections 3.13, 5.5, 5.7 and 5.16): stored, sent, cleared, and what they add up to."""
