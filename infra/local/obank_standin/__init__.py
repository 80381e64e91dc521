"""A stand-in for OBANK's card interface over mutual TLS, for tests: payments.md §3.

:class:`infra.local.obank_standin.server.ObankStandin`. It answers only callers that show a certificate of its
authority.
"""
