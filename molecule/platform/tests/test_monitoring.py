"""Monitoring on the virtual Pi: it is its own server, from a sensor to Alertmanager."""

import json
import shlex
import urllib.parse

import pytest

pytestmark = pytest.mark.long

SETTINGS = json.dumps(
    {
        "monitoring_enabled": True,
        # Nobody listens there: what counts is what Alertmanager has.
        "monitoring_discord_url": "http://127.0.0.1:9/planted-webhook-4711",
    }
)
UNITS = (
    "victoria-metrics.service", "vmalert.service", "alertmanager.service", "vmauth.service",
    "node-exporter.service", "vmagent.service", "health.timer", "summary.timer",
)  # fmt: skip
SECRETS = "/etc/gridberry/monitoring"


@pytest.fixture(scope="module")
def monitored(pi, machine):
    """The role, applied; and taken away again."""
    server = "monitoring_server={{ inventory_hostname }}"
    words = ("--tags", "monitoring", "-e", SETTINGS, "-e", server)
    result = machine.playbook(*words)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "planted-webhook-4711" not in result.stdout
    yield
    result = machine.playbook(*words, "-e", "monitoring_state=absent")
    assert result.returncode == 0, result.stdout[-3000:]
    places = (
        "/etc/systemd/system/gridberry-vm* /etc/gridberry/monitoring /var/lib/private/gridberry-*"
    )
    left = pi.run(f"ls -d {places}").stdout.split()
    assert left == ["/var/lib/private/gridberry-victoria-metrics"]


def asked(pi, expression):
    """What the store on the Pi answers."""
    url = f"http://127.0.0.1:8428/api/v1/query?query={urllib.parse.quote(expression)}"
    get = f"import urllib.request as u; print(u.urlopen({url!r}).read().decode())"
    said = pi.check_output(f"python3 -c {shlex.quote(get)}")
    return json.loads(said)["data"]["result"]


@pytest.mark.usefixtures("monitored")
def test_every_program_runs_and_only_vmauth_is_reachable(pi):
    for unit in UNITS:
        assert pi.check_output(f"systemctl is-active gridberry-{unit}") == "active"
    listening = pi.check_output("ss -Hltn | awk '{print $4}'").splitlines()
    for port in ("8428", "8429", "8880", "9093", "9100"):
        assert f"127.0.0.1:{port}" in listening
    for unit in ("victoria-metrics", "prometheus-node-exporter", "prometheus-alertmanager"):
        assert pi.run(f"systemctl is-active {unit}").stdout.strip() == "inactive"


@pytest.mark.usefixtures("monitored")
def test_the_pi_and_its_health_are_measured(pi, waiting):
    pi.check_output("systemctl start gridberry-health.service")
    waiting(lambda: asked(pi, 'up{job="node"} == 1'), "a scrape of the host")
    waiting(lambda: asked(pi, "gridberry_health_timestamp_seconds"), "its health")
    assert asked(pi, "gridberry_health_unreadable == 1") == []
    # QEMU's NVMe drive answers the kernel's own command for its SMART log.
    assert asked(pi, 'gridberry_drive_wear_percent{device="nvme0"}')
    waiting(lambda: asked(pi, 'node_filesystem_avail_bytes{mountpoint="/"}'), "its disk")


@pytest.mark.usefixtures("monitored")
def test_the_bot_is_scraped_with_its_token(pi, waiting):
    waiting(lambda: asked(pi, 'up{job="bot"} == 1'), "a scrape of the bot")
    assert asked(pi, "gridbot_build_info")


@pytest.mark.usefixtures("monitored")
def test_an_alert_reaches_alertmanager(pi, waiting):
    show = "amtool --alertmanager.url=http://127.0.0.1:9093 alert query -o json alertname=Watchdog"
    waiting(lambda: json.loads(pi.check_output(show)), "the alert that always fires")


@pytest.mark.usefixtures("monitored")
def test_without_a_token_vmauth_tells_nothing(pi):
    get = "curl -sk -o /dev/null -w %{http_code} https://127.0.0.1:8427/api/v1/query?query=up"
    assert pi.check_output(get) == "401"
    for name in ("write.token", "read.token", "secrets/discord.url", "server.key"):
        assert pi.file(f"{SECRETS}/{name}").mode == 0o600
    assert pi.run("grep -rs planted-webhoo[k]-4711 /proc/[0-9]*/cmdline /proc/[0-9]*/environ").rc
