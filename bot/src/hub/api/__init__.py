"""The hub's API and page over the whole fleet."""
