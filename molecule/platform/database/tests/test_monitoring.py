"""Monitoring on a virtual Pi that is its own server: from a sensor to Alertmanager."""

import json
import shlex
import urllib.parse

import pytest

PROGRAMS = ("victoria-metrics", "vmalert", "alertmanager", "vmauth", "node-exporter", "vmagent")
TIMERS = ("gridberry-health.timer", "gridberry-summary.timer")
DEBIAN_UNITS = ("victoria-metrics", "prometheus-node-exporter", "prometheus-alertmanager")
MEGABYTES = {"victoria-metrics": 300, "alertmanager": 150, "vmagent": 120, "vmalert": 100}
SECRETS = "/etc/gridberry/monitoring"
TEXTS = "/var/lib/gridberry/metrics"


def asked(pi, expression):
    """What the store on the Pi answers."""
    url = f"http://127.0.0.1:8428/api/v1/query?query={urllib.parse.quote(expression)}"
    get = f"import urllib.request as u; print(u.urlopen({url!r}).read().decode())"
    said = pi.check_output(f"python3 -c {shlex.quote(get)}")
    return json.loads(said)["data"]["result"]


def alert(pi, name):
    """Alertmanager's alerts of a name."""
    show = "amtool --alertmanager.url=http://127.0.0.1:9093 alert query -o json"
    return json.loads(pi.check_output(f"{show} alertname={name}"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_runs_in_a_sandbox(pi, name):
    unit = f"gridberry-{name}.service"
    assert pi.check_output(f"systemctl is-active {unit}") == "active"
    process = pi.check_output(f"systemctl show -P MainPID {unit}")
    status = pi.check_output(f"cat /proc/{process}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert int(fields["CapEff"], 16) == 0
    assert "0" not in fields["Uid"].split()


def test_the_timers_run_and_debians_own_units_do_not(pi):
    for unit in TIMERS:
        assert pi.check_output(f"systemctl is-active {unit}") == "active"
    for unit in DEBIAN_UNITS:
        assert pi.run(f"systemctl is-active {unit}").stdout.strip() == "inactive"


@pytest.mark.parametrize("name", MEGABYTES)
def test_memory_is_bounded_by_the_kernel(pi, name):
    group = pi.check_output(f"systemctl show -P ControlGroup gridberry-{name}.service")
    bound = pi.check_output(f"cat /sys/fs/cgroup{group}/memory.max")
    assert int(bound) == MEGABYTES[name] * 1024 * 1024
    print(name, pi.check_output(f"cat /sys/fs/cgroup{group}/memory.current"), "bytes")


def test_the_pi_and_its_health_are_measured(pi, waiting):
    pi.check_output("systemctl start gridberry-health.service")
    waiting(lambda: asked(pi, 'up{job="node"} == 1'), "a scrape of the host")
    waiting(lambda: asked(pi, "gridberry_health_timestamp_seconds"), "its health")
    assert asked(pi, "gridberry_health_unreadable == 1") == []
    # QEMU's NVMe drive answers the kernel's own command for its SMART log.
    assert asked(pi, 'gridberry_drive_wear_percent{device="nvme0"}')
    waiting(lambda: asked(pi, 'node_filesystem_avail_bytes{mountpoint="/"}'), "its disk")


def test_what_is_measured_is_on_the_drive(pi):
    place = "/var/lib/private/gridberry-victoria-metrics"
    assert pi.check_output(f"findmnt -nro SOURCE {place}").startswith("/dev/nvme0n1[")
    assert pi.check_output(f"ls {place}").split()


def test_the_bot_is_scraped_with_its_token(pi, waiting):
    waiting(lambda: asked(pi, 'up{job="bot"} == 1'), "a scrape of the bot")
    assert asked(pi, "gridbot_build_info")


def test_database_and_collector_are_measured(pi, waiting):
    waiting(lambda: asked(pi, "gridberry_database_up == 1"), "the database's metrics")
    waiting(lambda: asked(pi, "gridberry_collector_circuit_closed == 1"), "the collector's")


def test_a_sensor_that_is_too_hot_comes_to_alertmanager(pi, waiting):
    """From a text file of node exporter by vmagent, vmauth, store and rules."""
    pi.check_output(
        f"printf 'gridberry_temperature_celsius 86\\n' >{TEXTS}/planted.prom;"
        f" chmod 0644 {TEXTS}/planted.prom"
    )
    try:
        waiting(lambda: asked(pi, "gridberry_temperature_celsius == 86"), "the heat in the store")
        waiting(lambda: alert(pi, "TemperatureCritical"), "its alert in Alertmanager")
    finally:
        pi.check_output(f"rm -f {TEXTS}/planted.prom")
    waiting(lambda: not alert(pi, "TemperatureCritical"), "its end")


def test_alertmanager_has_the_alert_that_always_fires(pi, waiting):
    waiting(lambda: alert(pi, "Watchdog"), "the alert that always fires")


def test_without_a_token_vmauth_tells_nothing(pi):
    url = "https://127.0.0.1:8427/api/v1/query?query=up"
    get = f"curl -sk -o /dev/null -w %{{http_code}} {shlex.quote(url)}"
    assert pi.check_output(get) == "401"
    token = f'-H "Authorization: Bearer $(cat {SECRETS}/read.token)"'
    assert pi.check_output(f"{get} {token}") == "200"
    for name in ("write.token", "read.token", "secrets/discord.url", "server.key"):
        assert pi.file(f"{SECRETS}/{name}").mode == 0o600
