"""The message schemas of OCPP 1.6, compiled once for all that check with them."""

from socket_tier.schemas import SchemaSet

SCHEMAS = SchemaSet("v16")
