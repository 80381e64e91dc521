"""Files that chargers and operators exchange through signed links: firmware, logs, diagnostics."""
