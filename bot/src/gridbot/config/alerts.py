"""Settings of the alerts that the bot itself raises: who is told, and how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridbase.errors import UserError


@dataclass(frozen=True)
class AlertsConfig:
    """Who is told of alerts. Addresses that are secrets are in files.

    Attributes:
        host: the host's name in messages.
        runbooks: address or directory of the runbook pages.
        alertmanager_url: of Alertmanager; None where there is none.
        alertmanager_token_file: with its bearer token; None where it wants none.
        discord_url_file: with the address of a Discord webhook.
        ntfy_url_file: with the address of a topic of ntfy.
        webhook_url_file: with the address of a webhook that takes JSON.
    """

    host: str
    runbooks: str
    alertmanager_url: str | None
    alertmanager_token_file: Path | None
    discord_url_file: Path | None
    ntfy_url_file: Path | None
    webhook_url_file: Path | None

    @property
    def enabled(self) -> bool:
        """Whether anybody is told."""
        direct = (self.discord_url_file, self.ntfy_url_file, self.webhook_url_file)
        return self.alertmanager_url is not None or any(direct)


def alerts_of(values: dict[str, Any], bot_name: str) -> AlertsConfig:
    """The settings, checked.

    Args:
        values: by their names in the section.
        bot_name: the host's name where none is set.

    Raises:
        UserError: one contradicts another.
    """
    config = AlertsConfig(**values | {"host": values["host"] or bot_name})
    if config.alertmanager_token_file is not None and config.alertmanager_url is None:
        raise UserError(
            f"alerts.alertmanager_token_file = {config.alertmanager_token_file} needs "
            "alerts.alertmanager_url as well"
        )
    return config
