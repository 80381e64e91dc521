"""Powertools' resolver and psycopg with one route and one insert: the anchor of ``payment_webhook``."""

import hashlib
import hmac
import json
import os
from typing import Any

import psycopg
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver

app = APIGatewayRestResolver()
logger = Logger(service="bare")
_connection: psycopg.Connection[tuple[Any, ...]] | None = None


@app.post("/api/v1/payment/webhook")
def callback() -> dict[str, Any]:
    """A signature and one row."""
    global _connection
    body = (app.current_event.body or "").encode()
    signature = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    if _connection is None:
        _connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    _connection.execute(
        "INSERT INTO audit_logs (operation, actor, details) VALUES ('bench', %s, %s)", (signature[:8], json.dumps({}))
    )
    return {"success": True}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one proxy event."""
    return app.resolve(event, context)
