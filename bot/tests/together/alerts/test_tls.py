"""Alertmanager behind TLS, with the certificate that the role monitoring makes."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from gridbase.errors import UserError
from gridbot.config.alerts import AlertsConfig, alerts_of
from gridbot.service.alerts import channels
from gridbot.service.alerts.ledger import FIRED, Alert
from gridbot.service.alerts.messages import Sender

from .receivers import Receiver, Time

ROLE = Path(__file__).resolve().parents[4] / "roles/monitoring/vars/main"
SENDER = Sender("shelf-1", "pi1", "paper", "docs/runbooks")
ALERT = Alert("pi1-KeyRefused-1", "KeyRefused", "", "refused", 1, 1)
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs the package openssl")


def certificate(directory: Path) -> tuple[Path, Path]:
    """Have the role's own command make one."""
    directory.mkdir()
    settings = yaml.safe_load((ROLE / "settings.yml").read_text())
    given = {"place": str(directory), "tls_name": settings["__monitoring_tls_name"]}
    command = yaml.safe_load((ROLE / "server.yml").read_text())["__monitoring_certificate"]["apply"]
    for name, value in given.items():
        command = command.replace("{{ __monitoring_" + name + " }}", value)
    subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
    return directory / "server.crt", directory / "server.key"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def manager(place):
    receiver = Receiver(certificate=certificate(place / "server"))
    yield receiver
    receiver.close()


def channel(manager, place, **trust):
    token = place / "token"
    token.touch(mode=0o600)
    token.write_text("write-4711")
    config = AlertsConfig(
        host=SENDER.host,
        runbooks=SENDER.runbooks,
        alertmanager_url=manager.base,
        alertmanager_token_file=token,
        discord_url_file=None,
        ntfy_url_file=None,
        webhook_url_file=None,
        **trust,
    )
    return channels.alertmanager(config, SENDER, Time())


def test_the_role_s_alertmanager_is_told(manager, place):
    trust = {"ca_file": place / "server/server.crt", "tls_name": "gridberry-monitoring"}
    channel(manager, place, **trust).send(ALERT, FIRED)
    path, headers, body = manager.seen.pop()
    assert path == "/api/v2/alerts"
    assert headers["Authorization"] == "Bearer write-4711"
    assert "pi1-KeyRefused-1" in body


@pytest.mark.parametrize(
    "trust",
    [
        {"tls_name": "gridberry-monitoring"},  # the public certificates
        {"ca_file": "server"},  # whose name is not the address
        {"ca_file": "server", "tls_name": "another"},
        {"ca_file": "other", "tls_name": "gridberry-monitoring"},
    ],
)
def test_nobody_else_gets_the_token(manager, place, trust):
    if "ca_file" in trust:
        if not (place / "other").exists():
            certificate(place / "other")
        trust = trust | {"ca_file": place / trust["ca_file"] / "server.crt"}
    with pytest.raises(channels.UndeliveredError, match="SSLError"):
        channel(manager, place, **trust).send(ALERT, FIRED)
    assert manager.seen == []


def test_a_file_without_certificates_is_said_at_the_start(manager, place):
    wrong = place / "wrong.crt"
    wrong.write_text("none")
    for file, why in ((wrong, "needs certificates in PEM format"), (place / "gone", "No such")):
        with pytest.raises(UserError, match=f"alerts.ca_file = {file}: {why}"):
            channel(manager, place, ca_file=file)


@pytest.mark.parametrize("name", ["ca_file", "tls_name"])
@pytest.mark.parametrize(
    ("url", "why"),
    [(None, "needs alerts.alertmanager_url as well"), ("http://am:9093", "begins with https://")],
)
def test_certificates_are_for_https_alone(name, url, why):
    values = dict.fromkeys(AlertsConfig.__dataclass_fields__) | {"host": "pi1"}
    with pytest.raises(UserError, match=f"alerts.{name} = x .*{why}"):
        alerts_of(values | {"alertmanager_url": url, name: "x"}, "pi1")
