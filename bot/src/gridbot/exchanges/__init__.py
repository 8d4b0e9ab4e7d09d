"""Exchanges as the bot sees them: `port` is what trading speaks to."""
