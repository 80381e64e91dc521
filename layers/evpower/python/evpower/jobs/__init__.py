"""Work that a charger does for minutes after a command: firmware updates and uploads of logs."""
