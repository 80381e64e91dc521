"""Dashboard, alarms and the topic that they report to. Their content is in :mod:`infra.observability`."""
