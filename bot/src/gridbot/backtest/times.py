"""Times as people read them."""

from datetime import UTC, datetime


def iso(milliseconds: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC, such as ``2022-01-01T00:00:00Z``."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat().replace("+00:00", "Z")
