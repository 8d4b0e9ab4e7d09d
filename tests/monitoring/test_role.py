"""What the role writes: refused settings, and files that the programs of Debian trixie take."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from benchmarks.monitoring import tools
from benchmarks.monitoring.render import RenderError, render

SECRET = "planted-4711"
SETTINGS = {
    "monitoring_enabled": True,
    "monitoring_server": "pi1",
    "monitoring_checker": "pi2",
    "monitoring_discord_url": f"https://discord.example/{SECRET}",
    "monitoring_ntfy_url": f"https://ntfy.example/{SECRET}",
    "monitoring_ntfy_token": SECRET,
    "monitoring_telegram_token": f"1:{SECRET}",
    "monitoring_telegram_chat": "-100",
    "monitoring_webhook_url": f"https://hook.example/{SECRET}",
    "monitoring_email_to": "owner@example.org",
    "monitoring_email_from": "pi@example.org",
    "monitoring_email_server": "mail.example.org:587",
    "monitoring_email_user": "pi",
    "monitoring_email_password": SECRET,
    "monitoring_ping_url": f"https://ping.example/{SECRET}",
    "monitoring_quiet_hours": "22:00-07:00",
}
WRONG = {
    "monitoring_server": "pi9",
    "monitoring_checker": "pi8",
    "monitoring_discord_url": f"discord.example/{SECRET}",
    "monitoring_ntfy_url": "",
    "monitoring_telegram_chat": "@owner",
    "monitoring_email_server": "mail.example.org",
    "monitoring_quiet_hours": "22-7",
    "monitoring_summary_time": "8",
    "monitoring_report_time": "Monday 8:00",
    "monitoring_port": 443,
    "monitoring_buffer_mb": 0,
}
SAID = (
    "monitoring_server is pi9; use the name of a host",
    "monitoring_checker is pi8; use the name of a second host",
    "a webhook address of monitoring is not shown",
    "monitoring_telegram_token and monitoring_telegram_chat belong together",
    "monitoring_email_to is set, which also needs",
    'monitoring_quiet_hours is 22-7; use times such as "22:00-07:00"',
    'monitoring_summary_time is 8; use a time such as "08:00"',
    'monitoring_report_time is Monday 8:00; use a day and a time such as "Mon 08:00"',
    "monitoring_port is 443; use 1024 to 65535",
    "monitoring_buffer_mb is 0; use at least 1 and 16",
)


@pytest.fixture(scope="module")
def files():
    """The files of the server, and of another host."""
    return render(["pi1", "pi2", "pi3"], SETTINGS)


def content(entry: dict[str, str]) -> str:
    """What a file contains."""
    return entry.get("content") or entry.get("secret") or ""


def test_wrong_settings_are_all_named_and_no_secret_is_shown():
    with pytest.raises(RenderError) as refused:
        render(["pi1", "pi2"], SETTINGS | WRONG)
    said = " ".join(str(refused.value).split())
    assert [line for line in SAID if line not in said] == []
    assert SECRET not in said


def test_secrets_are_in_files_that_only_root_can_read(files):
    for host, entries in files.items():
        for path, entry in entries.items():
            if SECRET in content(entry):
                assert entry["mode"] == "0600", (host, path)
                assert "secret" in entry, (host, path)
    holding = {path for path, entry in files["pi3"].items() if SECRET in content(entry)}
    assert holding == set()  # a host that only measures has none


def test_no_unit_has_a_secret_or_root_without_need(files):
    for entries in files.values():
        for path, entry in entries.items():
            if path.endswith(".service") and "gridberry-health" not in path:
                assert "DynamicUser=yes" in entry["content"], path
                assert "ProtectSystem=strict" in entry["content"], path


def test_each_bot_of_a_host_is_watched_with_a_token_of_its_own():
    both = ["pi1", "pi1-eth"]
    own = {
        "grid_bot_neighbors": both,
        "grid_bot_page_port": "{{ 8081 if inventory_hostname == 'pi1-eth' else 8080 }}",
        "grid_bot_page_address": "{{ '0.0.0.0' if inventory_hostname == 'pi1' else '192.0.2.1' }}",
    }
    told = render(both, SETTINGS | own | {"monitoring_checker": ""})["pi1"]
    scrape = yaml.safe_load(content(told["/etc/gridberry/monitoring/scrape.yml"]))
    found = {
        job["static_configs"][0]["labels"]["host"]: (
            job["static_configs"][0]["targets"],
            job["authorization"]["credentials_file"].rpartition("/")[2],
        )
        for job in scrape["scrape_configs"]
        if job["job_name"].startswith("bot-")
    }
    assert found == {
        "pi1": (["127.0.0.1:8080"], "metrics.pi1.token"),
        "pi1-eth": (["192.0.2.1:8081"], "metrics.pi1-eth.token"),
    }
    unit = content(told["/etc/systemd/system/gridberry-vmagent.service"])
    for _, token in found.values():
        assert f"LoadCredential={token}:/etc/gridberry/monitoring/{token}\n" in unit


def test_a_token_that_reads_puts_no_alert_in_and_vmauth_tells_nothing_of_itself(files, tmp_path):
    (tmp_path / "write.token").write_text("w")
    (tmp_path / "read.token").write_text("r")
    place = {"CREDENTIALS_DIRECTORY": str(tmp_path), "RUNTIME_DIRECTORY": str(tmp_path)}
    script = content(files["pi1"]["/usr/local/lib/gridberry/monitoring-auth.sh"])
    subprocess.run(["sh", "-c", script], env=os.environ | place, check=True)
    users = yaml.safe_load((tmp_path / "auth.yml").read_text())["users"]
    opened = {
        user["bearer_token"]: [path for one in user["url_map"] for path in one["src_paths"]]
        for user in users
    }
    assert opened["w"] == ["/api/v1/write", "/api/v2/alerts"]
    # Alertmanager takes alerts at /api/v2/alerts; its groups can only be read.
    assert [path for path in opened["r"] if "alerts" in path] == ["/api/v2/alerts/groups"]
    unit = content(files["pi1"]["/etc/systemd/system/gridberry-vmauth.service"])
    assert " -httpInternalListenAddr=127.0.0.1:8426 " in f"{unit} ".replace("\n", " ")


def test_in_its_sandbox_the_health_program_can_ask_chrony(files):
    # chronyc answers "506 Cannot talk to daemon" where it can make no socket of its own there.
    unit = content(files["pi3"]["/etc/systemd/system/gridberry-health.service"])
    (writable,) = re.findall(r"^ReadWritePaths=(.*)$", unit, re.MULTILINE)
    assert "-/run/chrony" in writable.split()


@pytest.mark.skipif(bool(tools.missing()), reason=tools.missing())
def test_the_programs_take_their_configurations(files, tmp_path):
    told = files["pi1"]
    (tmp_path / "am.yml").write_text(content(told["/etc/gridberry/monitoring/alertmanager.yml"]))
    (tmp_path / "scrape.yml").write_text(content(told["/etc/gridberry/monitoring/scrape.yml"]))
    vmagent = ("-promscrape.config.dryRun", "-remoteWrite.url=http://127.0.0.1:9")
    for words in (
        ("amtool", "check-config", tmp_path / "am.yml"),
        ("vmagent", f"-promscrape.config={tmp_path}/scrape.yml", *vmagent),
        ("vmalert", "-dryRun", f"-rule={rules()}"),
    ):
        command = [tools.program(words[0]), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def rules() -> Path:
    """Where the rules are."""
    return Path(__file__).resolve().parents[2] / "roles/monitoring/files/rules/*.yml"


def test_what_a_host_cannot_send_is_on_the_drive_if_that_is_there(files):
    unit = content(files["pi3"]["/etc/systemd/system/gridberry-vmagent.service"])
    mount = "var-lib-private-gridberry\\x2dvmagent.mount"
    assert f"Wants={mount}\nAfter={mount}\n" in unit
    assert "Requires" not in unit
    assert "ExecStartPre=+/usr/local/lib/gridberry/monitoring-buffer.sh\n" in unit
    assert "/usr/local/lib/gridberry/monitoring-buffer.sh" in files["pi3"]
    store = content(files["pi1"]["/etc/systemd/system/gridberry-victoria-metrics.service"])
    assert "RequiresMountsFor=/var/lib/private/gridberry-victoria-metrics\n" in store


def test_an_undo_takes_what_each_program_keeps_but_what_was_measured(files):
    units = [content(one) for path, one in files["pi1"].items() if path.endswith(".service")]
    kept = set(re.findall(r"^StateDirectory=(.*)$", "\n".join(units), re.MULTILINE))
    agent = Path(__file__).resolve().parents[2] / "roles/monitoring/vars/main/agent.yml"
    left = yaml.safe_load(agent.read_text(encoding="utf-8"))["__monitoring_left"]
    gone = {f"gridberry-{name}" for name in re.findall(r"'([a-z-]+)'", left)}
    assert kept - gone == {"gridberry-victoria-metrics"}


def test_the_report_knows_whose_money_each_bot_trades_and_when_it_is_due():
    account = {"hub_account": "{{ 'my spare=2' if inventory_hostname == 'pi2' else 'main' }}"}
    hub = {"hub_serve": True, "hub_database": "::1", "hub_address": "::1", "hub_token": SECRET}
    due = {"monitoring_report_time": "Sun 20:15"}
    told = render(["pi1", "pi2"], SETTINGS | account | hub | due)
    secret = content(told["pi1"]["/etc/gridberry/monitoring/secrets/messages.json"])
    assert json.loads(secret)["accounts"] == {"pi1": "main", "pi2": "my spare=2"}
    assert json.loads(secret)["hub"] == {"url": "http://[::1]:8090", "token": SECRET}
    timer = content(told["pi1"]["/etc/systemd/system/gridberry-report.timer"])
    assert "OnCalendar=Sun 20:15 UTC\nPersistent=true\n" in timer
    assert "/etc/systemd/system/gridberry-report.timer" not in told["pi2"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_units_of_summary_and_report_and_tries_again(files, tmp_path):
    names = ("gridberry-summary", "gridberry-report")
    for name in (f"{name}.{kind}" for name in names for kind in ("service", "timer")):
        text = content(files["pi1"][f"/etc/systemd/system/{name}"])
        text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text)
        # A day later it may start again, however often it was tried.
        tries = "StartLimitIntervalSec=12h\nStartLimitBurst=20\n"
        again = "Restart=on-failure\nRestartSec=30min\n"
        assert name.endswith("timer") or (tries in text and again in text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not any(name in done.stderr for name in names), done.stderr
