"""One grid's life on an exchange: start, orders, reconciliation, end."""
