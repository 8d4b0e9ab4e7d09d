"""How much of the disk the recording may take: the oldest goes first, the newest is kept."""

import logging
from pathlib import Path

from recorder.core.rows import Gap
from recorder.files.catalog import Catalog, Entry
from recorder.files.compact import alone
from recorder.files.layout import READY

LOG = logging.getLogger("recorder")
LOST = "removed to keep within the disk's budget, and copied nowhere"


def keep_within(catalog: Catalog, budget_bytes: int) -> tuple[int, int]:
    """Remove the oldest files until the rest is within the budget.

    Those whose copies have been read back elsewhere go first. Where that is not enough, the oldest
    others go, and what is lost becomes a gap, written down before.

    Args:
        catalog: of the data directory.
        budget_bytes: how much may stay; 0 for no bound.

    Returns:
        How many files are only elsewhere now, and how many are nowhere.
    """
    if not budget_bytes:
        return 0, 0
    with alone(catalog.directory):
        return _keep_within(catalog, budget_bytes)


def _keep_within(catalog: Catalog, budget_bytes: int) -> tuple[int, int]:
    size = sum(entry.bytes for entry in (*catalog.synced(), *catalog.unsynced()))
    away = lost = 0
    for entry in catalog.synced():
        if size <= budget_bytes:
            break
        catalog.mark_away(entry.path)
        _path(catalog, entry).unlink(missing_ok=True)
        size -= entry.bytes
        away += 1
    for entry in catalog.unsynced():
        if size <= budget_bytes:
            break
        gap = Gap(entry.stream, entry.first_ms, entry.last_ms, entry.first, entry.last, LOST)
        LOG.error("%s: %s", entry.path, LOST)
        catalog.add_gaps([gap])
        catalog.replace([entry], None)
        _path(catalog, entry).unlink(missing_ok=True)
        catalog.remove(entry.path)
        size -= entry.bytes
        lost += 1
    if away or lost:
        catalog.write_manifests()
    return away, lost


def _path(catalog: Catalog, entry: Entry) -> Path:
    return catalog.directory / READY / entry.path
