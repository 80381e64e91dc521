"""What was said to and by each charger, for operators: written by the socket tier in batches, read through REST."""
