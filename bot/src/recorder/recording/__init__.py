"""From an exchange's messages to rows: connections, questions, and each symbol's streams."""
