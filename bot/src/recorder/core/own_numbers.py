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
        """Of the newest trades those since one that is known; None where none is known.

        Args:
            page: as ccxt has them; it sorts IDs as text, so that of one millisecond 10 is before 9.

        Returns:
            They, and known ones among them, in their order as far as time and IDs tell it.
        """
        ordered = sorted(page, key=_order)
        known = next((n for n, trade in enumerate(ordered) if trade["id"] in self._seen), None)
        if known is None:
            return None
        oldest = ordered[known]
        if oldest["id"].isdecimal():
            return ordered[known:]
        # Which of one millisecond came first such an ID does not tell.
        return [trade for trade in ordered if trade["timestamp"] >= oldest["timestamp"]]

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


def _order(trade: dict[str, Any]) -> tuple[int, int, str]:
    """By time, then by number where IDs are numbers."""
    name = str(trade["id"])
    return trade["timestamp"], len(name), name
