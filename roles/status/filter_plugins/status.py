"""Ansible filter: the fleet's status from what each host's task returned."""

from __future__ import annotations


def status_objects(results: dict[str, dict]) -> list[dict]:
    """Return one object a host, in order.

    Args:
        results: What the status task returned, by host; empty where it did not run.

    Returns:
        The hosts' own objects; for a host without one, C(host) and C(error).
    """
    objects = []
    for host, result in results.items():
        status = result.get("status")
        if status is None:
            reason = " ".join(str(result.get("msg") or "it was not asked").split())
            objects.append({"host": host, "error": reason})
        else:
            objects.append({"host": host, **status})
    return objects


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"status_objects": status_objects}
