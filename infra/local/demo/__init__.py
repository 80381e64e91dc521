"""The demo story: one driver, one car, two charges and every som accounted for. ``python -m infra.local.demo``."""
