"""The recorder: market data from an exchange's streams to Parquet files whose gaps are known."""
