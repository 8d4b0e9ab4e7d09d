"""Seeded chance: equal names give equal worlds."""

from random import Random


def dice(*names: object) -> Random:
    """A source of chance of its own for what these names name."""
    return Random(" ".join(map(str, names)))  # noqa: S311  a simulation, no secret
