"""Old chunks as Parquet files: written, read back, compared, and only then dropped."""
