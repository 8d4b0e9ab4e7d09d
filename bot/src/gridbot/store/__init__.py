"""The bot's memory: one SQLite file which survives a power cut at any moment.

Every change is one transaction, on the disk before the call returns (WAL with
``synchronous=FULL``). Amounts are decimal text, times are Unix milliseconds.
"""

from gridbot.store.backup import back_up, restore, restored
from gridbot.store.database import FILE_NAME, StoreError
from gridbot.store.records import GridResult, GridRun, HaltRow, PauseRow, Sample, TradeRow
from gridbot.store.schema import APPLICATION_ID, SCHEMA_VERSION
from gridbot.store.store import Store

__all__ = [
    "APPLICATION_ID",
    "FILE_NAME",
    "SCHEMA_VERSION",
    "GridResult",
    "GridRun",
    "HaltRow",
    "PauseRow",
    "Sample",
    "Store",
    "StoreError",
    "TradeRow",
    "back_up",
    "restore",
    "restored",
]
