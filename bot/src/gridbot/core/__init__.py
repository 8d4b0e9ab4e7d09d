"""The grid, its orders and its books. Pure: no clock, no file, no network."""
