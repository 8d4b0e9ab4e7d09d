"""What the programs of Gridberry share. Imports none of them."""
