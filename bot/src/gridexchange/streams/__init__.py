"""WebSocket API and streams."""
