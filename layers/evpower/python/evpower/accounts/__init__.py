"""Clients and their ledger: every som that moves, moves through :func:`evpower.accounts.service.move`."""
