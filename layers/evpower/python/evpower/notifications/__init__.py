"""What people are told on their phones: rows of the push outbox, written with the fact that causes them."""
