"""Any other spot exchange, by ccxt's unified methods."""
