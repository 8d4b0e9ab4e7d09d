"""Live prices: the practice exchange follows a real exchange's public trades and order book."""
