"""The recorder as a process: its threads, its memory, what it tells."""
