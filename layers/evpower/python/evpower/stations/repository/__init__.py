"""All SQL of stations, connectors, what chargers report, and the map."""
