"""A stand-in for the O!Dengi merchant API on loopback: payments.md §1 over HTTP, a page with the QR and a Pay button.

In a test: :class:`infra.local.payment_standin.server.PaymentStandin`; alone: ``python -m infra.local.payment_standin``.
"""
