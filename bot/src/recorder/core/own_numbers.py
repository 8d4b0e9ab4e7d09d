"""Numbers for the trades of an exchange that does not number them. Pure."""

from collections import OrderedDict
from typing import Any

REMEMBERED = 10_000  # IDs of trades


class OwnNumbers:
    """Numbers for trades whose IDs do not tell what is missing.

    Args:
        last: the last number that was given, by a recorder before this one; None at first.
    """

    def __init__(self, last: int | None) -> None:
        # What happened since then nobody can tell: a number is left out.
        self._next = 1 if last is None else last + 2
        self._seen: OrderedDict[str, None] = OrderedDict()

    @property
    def begun(self) -> bool:
        """Whether a number was given to a trade that has an ID."""
        return bool(self._seen)

    def skip(self) -> None:
        """Trades may be missing here."""
        self._next += 1

    def missed(self, page: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        """Of the newest trades those since the last known one; None where none is known."""
        known = [place for place, trade in enumerate(page) if trade["id"] in self._seen]
        return page[known[0] :] if known else None

    def number(self, trade: dict[str, Any]) -> int | None:
        """A trade's number; None where it had one already."""
        name = trade["id"]
        if name is not None:
            if name in self._seen:
                return None
            self._seen[name] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        self._next += 1
        return self._next - 1
