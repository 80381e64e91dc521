"""Which failures mean "the database is away", which "this message is wrong"; any other is a defect of ours.

Without an answer in time (:class:`evpower.db.bounded.NoAnswer`) the database is away as well.
"""

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


def is_refusal(error: BaseException) -> bool:
    """True when the database refuses the values of the message itself: storing it again would fail again."""
    return isinstance(error, (psycopg.DataError, psycopg.IntegrityError, *_STATEMENT_FAULTS))
