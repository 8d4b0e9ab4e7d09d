"""Where prices come from, and the symbols that are traded."""
