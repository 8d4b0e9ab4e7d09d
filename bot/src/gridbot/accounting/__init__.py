"""Books that are closed: archive, audit, tax and profit."""
