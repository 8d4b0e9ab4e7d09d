"""What makes a recording complete: numbers without holes, books, gaps. Pure, no I/O."""
