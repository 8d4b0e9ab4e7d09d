"""The running bot: its grids, its page, its health."""
