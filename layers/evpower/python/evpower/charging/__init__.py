"""Charging sessions: start, meter, limits, stop, settlement. Money is reserved at start and settled once at the end."""
