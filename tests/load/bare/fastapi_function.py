"""FastAPI, Mangum and psycopg with one route and one query: the anchor of ``api``."""

import asyncio
import os
from typing import Any

import psycopg
from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel


class Balance(BaseModel):
    """The answer."""

    success: bool = True
    client_id: str
    balance: float


app = FastAPI(openapi_url=None)
_connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None


@app.get("/api/v1/balance/current")
async def current(client_id: str = "client-1") -> Balance:
    """One row by key."""
    global _connection
    if _connection is None:
        _connection = await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True)
    row = await (await _connection.execute("SELECT balance FROM clients WHERE id = %s", (client_id,))).fetchone()
    return Balance(client_id=client_id, balance=float(row[0]) if row else 0)


asyncio.set_event_loop(asyncio.new_event_loop())
handler = Mangum(app, lifespan="off")
