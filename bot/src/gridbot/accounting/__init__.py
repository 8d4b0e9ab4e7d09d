"""Books that are closed: settled positions, audit, tax and profit."""
