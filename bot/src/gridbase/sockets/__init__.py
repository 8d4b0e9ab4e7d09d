"""What an exchange tells by itself: WebSocket connections, kept alive, and what comes over them."""
