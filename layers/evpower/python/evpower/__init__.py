"""Shared layer of the EvPower backend: business rules and all SQL, one package per domain."""

__version__ = "2.0.0"
