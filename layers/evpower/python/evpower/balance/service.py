"""Balance and money history of one client (mobile-api.md §4.5 B3-B5, §4.9 H2)."""

from evpower.accounts import service as accounts
from evpower.balance import repository
from evpower.balance.models import Balance, HistoryPage
from evpower.db import Conn
from evpower.money import CURRENCY


async def current(conn: Conn, client_id: str) -> Balance:
    """The client's balance now.

    Raises:
        ClientNotFound: no such client.
    """
    client = await accounts.get_client(conn, client_id)
    last_topup_at, total_spent = await repository.totals(conn, client_id)
    return Balance(
        client_id=client.id,
        balance=client.balance,
        currency=CURRENCY,
        last_topup_at=last_topup_at,
        total_spent=total_spent,
    )


async def history(conn: Conn, client_id: str, *, limit: int = 50, offset: int = 0) -> HistoryPage:
    """One page of every movement of the client's money, and of top-ups that brought none, newest first."""
    items = await repository.history(conn, client_id, limit, offset)
    total = await repository.history_length(conn, client_id)
    return HistoryPage(tuple(items), total, limit, offset)
