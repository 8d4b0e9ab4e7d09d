"""Binance's own REST API, WebSocket API and streams."""
