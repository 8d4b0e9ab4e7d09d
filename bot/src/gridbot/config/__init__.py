"""The bot's configuration: one TOML file, read strictly."""
