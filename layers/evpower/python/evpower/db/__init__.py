"""The database: connections, transactions and migrations. SQL of the domains lives in their repositories."""

from evpower.db.commit_hooks import after_commit
from evpower.db.connection import Claims, Conn, Database, PooledDatabase, SingleConnectionDatabase, system_claims
from evpower.db.database_time import database_time

__all__ = [
    "Claims",
    "Conn",
    "Database",
    "PooledDatabase",
    "SingleConnectionDatabase",
    "after_commit",
    "database_time",
    "system_claims",
]
