"""Certificates of chargers: signing requests, the authority that signs, what is installed, what expires."""
