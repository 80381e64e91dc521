"""What the product's functions are compared with: the least code that does the same kind of work."""
