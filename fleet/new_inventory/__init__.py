"""An inventory from a few questions: `./gridberry new`."""
