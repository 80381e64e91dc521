"""A database whose clock is set: its functions for the present time answer with a step that a test chooses."""

from datetime import timedelta

import psycopg
from psycopg import sql

_SETUP = """
CREATE SCHEMA set_clock;
GRANT USAGE ON SCHEMA set_clock TO PUBLIC;
CREATE TABLE set_clock.steps (by interval NOT NULL);
INSERT INTO set_clock.steps VALUES (interval '0');
GRANT SELECT ON set_clock.steps TO PUBLIC;
CREATE FUNCTION set_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + by FROM set_clock.steps';
CREATE FUNCTION set_clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT pg_catalog.now() + by FROM set_clock.steps';
"""


class DatabaseClock:
    """Owner of the clock of the database ``dsn``; connections that are opened from now on see it."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(_SETUP)
            name = sql.Identifier(conn.info.dbname)
            conn.execute(sql.SQL("ALTER DATABASE {} SET search_path = set_clock, pg_catalog, public").format(name))

    def step(self, by: timedelta) -> None:
        """Set the clock ``by`` so much from where it is."""
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            conn.execute("UPDATE set_clock.steps SET by = by + %s", (by,))
