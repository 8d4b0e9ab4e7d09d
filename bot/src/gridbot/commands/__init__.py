"""One module for each subcommand of `gridbot`."""
