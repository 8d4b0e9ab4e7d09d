"""The rules of the alerts, with vmalert-tool of Debian trixie; and what each says to a person."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmarks.monitoring import tools

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "roles/monitoring/files/rules"
ALERTS = {
    rule["alert"]: rule
    for path in sorted(RULES.glob("*.yml"))
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}


@dataclass(frozen=True)
class Case:
    """What makes an alert fire, and what does not.

    Attributes:
        bad: Series, in the notation of unit tests, at which it fires.
        good: Those at which it does not.
        after: When it fires, and not yet a minute before if `early`.
        labels: Of the alert, beside those of the rule.
        early: A time at which the bad series do not make it fire yet.
    """

    bad: dict[str, str]
    good: dict[str, str]
    after: str
    labels: dict[str, str]
    early: str = ""


PI = {"host": "pi1"}
BTC = {**PI, "symbol": "BTC/USDT"}
DAY = "x6000"  # 15 s each


def bot(metric: str, labels: str = "") -> str:
    """A series of pi1's bot."""
    return f'gridbot_{metric}{{host="pi1",symbol="BTC/USDT"{labels}}}'


def pi(metric: str, labels: str = "") -> str:
    """A series of pi1 itself."""
    return f'{metric}{{host="pi1"{labels}}}'


DISK = ',device="/dev/nvme0n1p1",mountpoint="/"'
STORE = ',job="monitoring",instance="127.0.0.1:8428"'
IB_STATE = "gridberry_ib_gateway_state"
INCIDENT = "gridberry_incident_last_timestamp_seconds"
CONTAINER = ',container="gridberry-bot"'
NIGHTLY = ',file="/var/lib/gridberry/metrics/gridberry_analytics_nightly.prom"'
UP = {pi("up", ',job="node",instance="a"'): "1x400"}
EXPECTED = {pi("gridberry_expected_host"): "1x400", 'up{host="pi2",job="node"}': "1x400"}
CASES = {
    "BotDown": Case(
        {pi("up", ',job="bot"'): "0x40"}, {pi("up", ',job="bot"'): "1x40"}, "3m", PI, "1m"
    ),
    "ExchangeAway": Case(
        {bot("grid_waiting", ',cause="exchange"'): "1x40"},
        {bot("grid_waiting", ',cause="exchange"'): "0x40"},
        "3m", PI, "1m",
    ),
    "BreakerOpen": Case(
        {bot("circuit_breaker_state", ',state="open"'): "1x40"},
        {bot("circuit_breaker_state", ',state="closed"'): "1x40"},
        "2m", PI, "30s",
    ),
    "BooksUnequal": Case(
        {bot("grid_waiting", ',cause="books_unequal"'): "1x40"},
        {bot("grid_waiting", ',cause="state"'): "1x40"},
        "2m", BTC, "30s",
    ),
    "KeyRefused": Case(
        {bot("grid_waiting", ',cause="key_refused"'): "1x40"},
        {bot("grid_waiting", ',cause="key_refused"'): "0x40"},
        "2m", PI, "30s",
    ),
    "KillSwitchFired": Case(
        {bot("kill_switch_fired", ',rule="stop.loss_price"'): "1x40"},
        {bot("kill_switch_fired", ',rule="by_hand"'): "1x40"},
        "1m", {**BTC, "rule": "stop.loss_price"},
    ),
    "OutOfRange": Case(
        {bot("range_position_ratio"): "-0.01x100"},
        {bot("range_position_ratio"): "1x100"},
        "16m", BTC, "10m",
    ),
    "BotUnwell": Case(
        {pi("gridbot_healthy"): "0x100"}, {pi("gridbot_healthy"): "1x100"}, "11m", PI, "5m"
    ),
    "ContainerDown": Case(
        {pi("gridberry_container_running", ',container="gridberry-exchange"'): "0x40"},
        {pi("gridberry_container_running", CONTAINER): "0x40"},
        "3m", {**PI, "container": "gridberry-exchange"}, "1m",
    ),
    "MemoryNearLimit": Case(
        {
            pi("gridberry_container_memory_bytes", CONTAINER): "95x100",
            pi("gridberry_container_memory_limit_bytes", CONTAINER): "100x100",
        },
        {
            pi("gridberry_container_memory_bytes", CONTAINER): "89x100",
            pi("gridberry_container_memory_limit_bytes", CONTAINER): "100x100",
        },
        "11m", {**PI, "container": "gridberry-bot"}, "5m",
    ),
    "PiUnreachable": Case(
        EXPECTED | {'up{host="pi1",job="node"}': "1x20 _x80"},
        EXPECTED | {'up{host="pi1",job="node"}': "1x100"},
        "11m", PI, "9m",
    ),
    "DiskFilling": Case(
        {
            pi("node_filesystem_avail_bytes", DISK): "3900-1x3000",
            pi("node_filesystem_size_bytes", DISK): "10000x3000",
        },
        {
            pi("node_filesystem_avail_bytes", DISK): "3900x3000",
            pi("node_filesystem_size_bytes", DISK): "10000x3000",
        },
        "3h", {**PI, "device": "/dev/nvme0n1p1"},
    ),
    "DiskFull": Case(
        {
            pi("node_filesystem_avail_bytes", DISK): "4x40",
            pi("node_filesystem_size_bytes", DISK): "100x40",
        },
        {
            pi("node_filesystem_avail_bytes", DISK): "6x40",
            pi("node_filesystem_size_bytes", DISK): "100x40",
        },
        "3m", {**PI, "device": "/dev/nvme0n1p1"}, "1m",
    ),
    "TemperatureHigh": Case(
        {pi("gridberry_temperature_celsius"): "76x40"},
        {pi("gridberry_temperature_celsius"): "74.9x40"},
        "6m", PI, "4m",
    ),
    "TemperatureCritical": Case(
        {pi("gridberry_temperature_celsius"): "81x40"},
        {pi("gridberry_temperature_celsius"): "79.9x40"},
        "2m", PI, "30s",
    ),
    "Throttled": Case(
        {pi("gridberry_power_problem", ',kind="throttled"'): "1x40"},
        {pi("gridberry_power_problem", ',kind="under_voltage"'): "1x40"},
        "2m", PI, "30s",
    ),
    "UnderVoltage": Case(
        {pi(INCIDENT, ',kind="under_voltage"'): "0x400"},
        {pi("gridberry_power_problem", ',kind="throttled"'): "1x400"},
        "30m", PI,
    ),
    "OomKill": Case(
        {pi(INCIDENT, ',kind="oom_kill"'): "0x400"},
        {pi(INCIDENT, ',kind="oom_kill"'): "-7200x400"},
        "30m", PI,
    ),
    "WatchdogReset": Case(
        {pi(INCIDENT, ',kind="watchdog_reset"'): "0x400"},
        {pi(INCIDENT, ',kind="unclean_boot"'): "0x400"},
        "30m", PI,
    ),
    "UncleanBoot": Case(
        {pi(INCIDENT, ',kind="unclean_boot"'): "0x400"},
        {pi(INCIDENT, ',kind="watchdog_reset"'): "0x400"},
        "30m", PI,
    ),
    "DriveErrors": Case(
        {
            pi(INCIDENT, ',kind="drive_error"'): "-90000x400",
            pi(INCIDENT, ',kind="drive_down"'): "0x400",
        },
        {
            pi(INCIDENT, ',kind="drive_error"'): "-90000x400",
            pi("gridberry_drive_media_errors", ',device="nvme0"'): "3x400",
            pi("gridberry_filesystem_read_only", ',path="/"'): "0x400",
        },
        "30m", PI,
    ),
    "DriveWorn": Case(
        {pi("gridberry_drive_wear_percent", ',device="nvme0"'): "80x40"},
        {
            pi("gridberry_drive_wear_percent", ',device="nvme0"'): "79x40",
            # Some drives do not tell their spare blocks; too few are a critical warning.
            pi("gridberry_drive_spare_percent", ',device="nvme0"'): "0x40",
        },
        "1m", {**PI, "device": "nvme0"},
    ),
    "ClockOff": Case(
        {pi("gridberry_clock_offset_seconds"): "-0.2x100"},
        {pi("gridberry_clock_offset_seconds"): "-0.09x100"},
        "11m", PI, "9m",
    ),
    "BackupFailed": Case(
        {pi("gridberry_backup_configured"): "1x40", pi("gridberry_backup_ok"): "0x40"},
        {pi("gridberry_backup_configured"): "0x40", pi("gridberry_backup_ok"): "0x40"},
        "1m", PI,
    ),
    "BackupLate": Case(
        {
            pi("gridberry_backup_configured"): "1x40",
            pi("gridberry_backup_last_success_timestamp_seconds"): "-93600x40",
        },
        {
            pi("gridberry_backup_configured"): "1x40",
            pi("gridberry_backup_last_success_timestamp_seconds"): "-93000x40",
        },
        "1m", PI,
    ),
    "AnalyticsFailed": Case(
        {
            pi("gridberry_analytics_job_success", ',job="report",name="pi1"'): "1x40",
            pi("gridberry_analytics_job_success", ',job="compare",name="pi1"'): "0x40",
        },
        {pi("gridberry_analytics_job_success", ',job="compare",name="pi1"'): "1x40"},
        "1m", PI,
    ),
    "AnalyticsLate": Case(
        {
            pi("gridberry_analytics_late_after_seconds"): "100000x40",
            pi("gridberry_analytics_last_run_timestamp_seconds"): "-100000x40",
            pi("node_textfile_mtime_seconds", NIGHTLY): "0x40",
        },
        {
            pi("gridberry_analytics_late_after_seconds"): "100000x40",
            pi("gridberry_analytics_last_run_timestamp_seconds"): "-99000x40",
            pi("node_textfile_mtime_seconds", NIGHTLY): "-200000x40",
        },
        "1m", PI,
    ),
    "RebootWaiting": Case(
        {pi("gridberry_reboot_waiting"): f"1{DAY}"},
        {pi("gridberry_reboot_waiting"): f"0{DAY}"},
        "24h5m", PI, "23h",
    ),
    "MemoryLow": Case(
        {
            pi("node_memory_MemAvailable_bytes"): "7x100",
            pi("node_memory_MemTotal_bytes"): "100x100",
        },
        {
            pi("node_memory_MemAvailable_bytes"): "9x100",
            pi("node_memory_MemTotal_bytes"): "100x100",
        },
        "11m", PI, "9m",
    ),
    "HealthUnreadable": Case(
        {pi("gridberry_health_unreadable", ',part="drives"'): "1x100"},
        {pi("gridberry_health_unreadable", ',part="drives"'): "0x100"},
        "16m", {**PI, "part": "drives"}, "14m",
    ),
    "GatewayNeedsPerson": Case(
        {pi(IB_STATE, ',state="needs a person"'): "1x40", pi(IB_STATE, ',state="ready"'): "0x40"},
        {pi(IB_STATE, ',state="needs a person"'): "0x40", pi(IB_STATE, ',state="hung"'): "1x40"},
        "1m", PI,
    ),
    "GatewayDown": Case(
        {pi(IB_STATE, ',state="hung"'): "1x8 0x32", pi(IB_STATE, ',state="stopped"'): "0x8 1x32"},
        {pi(IB_STATE, ',state="restarting"'): "1x40", pi(IB_STATE, ',state="hung"'): "0x40"},
        "3m", PI, "1m",
    ),
    "GatewayOffline": Case(
        {pi(IB_STATE, ',state="offline"'): "1x140"},
        {pi(IB_STATE, ',state="hung"'): "1x140", pi(IB_STATE, ',state="offline"'): "0x140"},
        "31m", PI, "29m",
    ),
    "GatewayLoginSoon": Case(
        {pi("gridberry_ib_gateway_second_factor_timestamp_seconds"): "88200x400"},
        {pi("gridberry_ib_gateway_second_factor_timestamp_seconds"): "88300x400"},
        "31m", PI, "29m",
    ),
    "GatewayUnwatched": Case(
        {pi("gridberry_ib_gateway_timestamp_seconds"): "0x100"},
        {pi("gridberry_ib_gateway_timestamp_seconds"): "0+15x100"},
        "13m", PI, "11m",
    ),
    "Watchdog": Case({}, {}, "1m", {}),
    "TargetMissing": Case(
        {pi("up", ',job="node",instance="a"'): "0x40"},
        {pi("up", ',job="bot",instance="a"'): "0x40"},
        "6m", {**PI, "job": "node", "instance": "a"}, "4m",
    ),
    "FleetUnknown": Case(
        {'up{host="pi2",job="node"}': "1x400"},
        {'gridberry_expected_host{host="pi1"}': "1x400"},
        "6m", {}, "4m",
    ),
    "RulesFailing": Case(
        {pi("vmalert_execution_errors_total", ',job="monitoring"'): "0+1x100"},
        {pi("vmalert_execution_errors_total", ',job="monitoring"'): "7x100"},
        "7m", PI, "4m",
    ),
    "AlertsNotSent": Case(
        {pi("alertmanager_notifications_failed_total", ',integration="discord"'): "0+1x100"},
        {pi("alertmanager_notifications_failed_total", ',integration="discord"'): "7x100"},
        "7m", {**PI, "integration": "discord"}, "4m",
    ),
    "StorageReadOnly": Case(
        {pi("vm_storage_is_read_only"): "1x40"},
        {pi("vm_storage_is_read_only"): "0x40"},
        "3m", PI, "1m",
    ),
    "StoreMemoryHigh": Case(
        {pi("process_resident_memory_bytes", STORE): "280000000x100"},
        {pi("process_resident_memory_bytes", STORE): "260000000x100"},
        "16m", PI, "14m",
    ),
}  # fmt: skip
PRIMARY = {pi("gridberry_database_primary"): "1x40"}
REPLICA = {pi("gridberry_database_primary"): "0x40"}
FAILED = {pi("gridberry_database_backup_ok"): "0x40"}
LATE = {pi("gridberry_database_backup_last_good_seconds"): "-93600x40"}
# The same of the fleet's database, whose backups are its primary's.
OF_DATABASE = {
    "BackupFailed": Case(PRIMARY | FAILED, REPLICA | FAILED, "1m", PI),
    "BackupLate": Case(PRIMARY | LATE, REPLICA | LATE, "1m", PI),
}
# Analytics of which no night has ended since the role came; and a host without any.
NEVER = {
    "AnalyticsLate": Case(
        {
            pi("gridberry_analytics_late_after_seconds"): "100000x40",
            pi("node_textfile_mtime_seconds", NIGHTLY): "-100000x40",
        },
        {pi("node_textfile_mtime_seconds", NIGHTLY): "-100000x40"},
        "1m",
        PI,
    ),
}


def kebab(name: str) -> str:
    """`BotDown` -> `bot-down`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def test_every_alert_has_a_case():
    assert sorted(CASES) == sorted(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_an_alert_tells_what_it_means_and_what_to_do(name):
    told = ALERTS[name]["annotations"]
    assert set(told) == {"summary", "description", "action", "runbook_url"}
    assert told["runbook_url"] == f"docs/runbooks/{kebab(name)}.md"
    assert (ROOT / told["runbook_url"]).is_file()
    assert ALERTS[name]["labels"]["severity"] in {"critical", "warning", "none"}
    table = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert (
        f"| [{name}](runbooks/{kebab(name)}.md) | {ALERTS[name].get('for', 'at once')} |" in table
    )


def times(case: Case, labels: dict[str, str], name: str) -> list[dict]:
    """When the unit test looks, and what it wants to see."""
    looks = [{"eval_time": case.after, "alertname": name, "exp_alerts": [{"exp_labels": labels}]}]
    if case.early:
        looks.append({"eval_time": case.early, "alertname": name, "exp_alerts": []})
    return looks


def series(values: dict[str, str]) -> list[dict[str, str]]:
    """Series as a unit test has them."""
    return [{"series": name, "values": points} for name, points in values.items()]


def unit_test(place: Path, name: str, case: Case) -> Path:
    """Write the unit test of a case of an alert, and return its file."""
    labels = {**ALERTS[name]["labels"], **case.labels}
    tests = [
        {"input_series": series(case.bad), "alert_rule_test": times(case, labels, name)},
    ]
    if case.good:
        never = [{"eval_time": case.after, "alertname": name, "exp_alerts": []}]
        tests.append({"input_series": series(case.good), "alert_rule_test": never})
    # The tool compares annotations as well; what is in them, a person reads.
    bare = {key: value for key, value in ALERTS[name].items() if key != "annotations"}
    rules = {"groups": [{"name": "one", "rules": [bare]}]}
    (place / f"{name}.rules").write_text(yaml.safe_dump(rules), encoding="utf-8")
    document = {
        "rule_files": [str(place / f"{name}.rules")],
        "evaluation_interval": "5m" if "h" in case.after else "15s",
        "tests": [{"interval": "15s", **one} for one in tests],
    }
    path = place / f"{name}{'' if case is CASES[name] else '-more'}.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@pytest.mark.skipif(bool(tools.missing()), reason=tools.missing())
def test_each_alert_fires_when_it_should_and_not_otherwise(tmp_path):
    words = [tools.program("vmalert-tool"), "unittest", "--disableAlertgroupLabel"]
    for name, case in (*CASES.items(), *OF_DATABASE.items(), *NEVER.items()):
        words += ["--files", unit_test(tmp_path, name, case)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
