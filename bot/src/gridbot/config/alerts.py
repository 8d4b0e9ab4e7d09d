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
        ca_file: certificates that Alertmanager is trusted by; None: the public ones.
        tls_name: in its certificate; None: the name in its address.
    """

    host: str
    runbooks: str
    alertmanager_url: str | None
    alertmanager_token_file: Path | None
    discord_url_file: Path | None
    ntfy_url_file: Path | None
    webhook_url_file: Path | None
    ca_file: Path | None = None
    tls_name: str | None = None

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
    url = config.alertmanager_url
    for name in ("alertmanager_token_file", "ca_file", "tls_name"):
        if values[name] is not None and url is None:
            raise UserError(f"alerts.{name} = {values[name]} needs alerts.alertmanager_url as well")
    for name in ("ca_file", "tls_name"):
        if values[name] is not None and not str(url).startswith("https://"):
            raise UserError(
                f"alerts.{name} = {values[name]} needs an alerts.alertmanager_url that begins with "
                "https://"
            )
    return config
