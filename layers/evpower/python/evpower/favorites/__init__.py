"""Favourite locations of clients (mobile-api.md §4.9 F1-F5)."""
