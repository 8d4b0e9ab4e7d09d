"""The role monitoring, tried on this computer with the real programs of Debian trixie."""
