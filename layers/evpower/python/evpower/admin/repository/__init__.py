"""All SQL of the staff screens."""
