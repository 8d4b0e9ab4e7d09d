"""Alerts that the bot itself raises: through Alertmanager, else directly. Trading never waits."""
