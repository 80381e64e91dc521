"""Profile of the signed-in client: P1 (mobile-api.md §4.4)."""

from evpower.accounts.models import Client
from evpower.db import Conn
from functions.api.routing import CallerParam, router
from functions.api.schemas.profile import ClientUser, ProfileAnswer

routes = router("/api/v1", "profile")


@routes.get("/profile", response_model=ProfileAnswer)
async def profile(caller: CallerParam) -> ProfileAnswer:
    """P1: who is signed in."""

    async def own(conn: Conn, client: Client) -> Client:
        return client

    client = await caller.run_active(own)
    user = ClientUser(
        id=client.id,
        phone=client.phone,
        name=client.name,
        balance=client.balance,
        status=client.status.value,
        created_at=client.created_at,
    )
    return ProfileAnswer(
        user_type="client",
        user=user,
        client_id=client.id,
        email=client.email,
        phone=client.phone,
        name=client.name,
        balance=client.balance,
        status=client.status.value,
    )
