"""Which failures mean "the database is away" and not "this message is wrong"."""

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

# Operational in name, but caused by the statement: trying again does not help.
_STATEMENT_FAULTS = (pg.ProgramLimitExceeded, pg.StatementTooComplex)


def is_unavailable(error: BaseException) -> bool:
    """True for a lost connection, a server that restarts, an exhausted pool, deadlocks that outlived their retries."""
    if isinstance(error, PoolTimeout | PoolClosed | TooManyRequests | psycopg.InterfaceError):
        return True
    return isinstance(error, psycopg.OperationalError) and not isinstance(error, _STATEMENT_FAULTS)
