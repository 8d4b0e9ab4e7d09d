"""Files of the recording: journal, Parquet, catalogue. What is `ready` is never modified."""
