"""The first-boot files of a card: `./gridberry prepare`."""
