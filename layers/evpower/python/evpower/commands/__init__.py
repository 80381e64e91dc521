"""Commands to chargers: an outbox in PostgreSQL (``station_commands``), delivered through SQS FIFO."""
