"""What staff read and change: their stations, the sessions there, clients, and each other (mobile-api.md §7)."""
