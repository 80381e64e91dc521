"""Reading a client's balance and money history. Nothing here changes anything."""
