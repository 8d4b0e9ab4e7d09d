"""Ansible filter: what several hosts have in common."""

from __future__ import annotations


def same_texts(texts: dict[str, str], refused: dict[str, list[str]]) -> list[dict[str, str]]:
    """Return each text once, as C(text), with the names that have it, as C(names).

    Args:
        texts: By name; those that are empty are left out.
        refused: What is wrong otherwise, by name; texts of these are left out as well.
    """
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        if text and not refused[name]:
            names.setdefault(text, []).append(name)
    return [{"text": text, "names": ", ".join(same)} for text, same in names.items()]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filter by its name."""
        return {"grid_bot_same_texts": same_texts}
