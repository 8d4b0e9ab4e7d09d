"""What has changed between two JSON documents, so that a page need not fetch all of it. Pure."""

from typing import Any

Path = list[str | int]


def changes(before: Any, after: Any) -> list[tuple[Path, Any]]:
    """The places where two documents differ, each with its new content.

    Args:
        before: a JSON document.
        after: a later one.

    Returns:
        Paths of keys and indexes, outermost first, with what is there now. An object whose keys
        have changed and a list whose length has changed come as a whole.
    """
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        pairs = [(key, before[key], after[key]) for key in after]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = list(zip(range(len(after)), before, after, strict=True))
    else:
        return [] if before == after else [([], after)]
    return [
        ([key, *path], content) for key, old, new in pairs for path, content in changes(old, new)
    ]
