"""The recorder: market data from an exchange's streams to Parquet files whose gaps are known.

``recorder.load`` reads a recording, in a notebook for example; see `recorder.reading.load.load`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recorder.reading.load import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import `load` when it is asked for: the recorder itself does not need DuckDB."""
    if name != "load":
        raise AttributeError(name)
    from recorder.reading.load import load

    return load
