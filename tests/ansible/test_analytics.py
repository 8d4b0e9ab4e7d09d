"""The role analytics: what it refuses, and what analytics, Docker and systemd are told."""

import json
import os
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOTS = [{"name": "gridberry", "options": ["--fee-rate", "0.00075"]}]
WORDS = ["--investment", "1000", "--fee-rate", "0.001"]
SEARCHES = [{"symbol": "BTCUSDT", "options": WORDS}]
POOL = {
    "analytics_pool_scheduler": "tls://192.168.1.10:8786",
    "analytics_pool_certificate": "a-certificate",
    "analytics_pool_key": "a-secret-key-of-the-pool",
}
# Each is a host of the play; the first one does nothing, as most of a fleet.
HOSTS: dict[str, dict] = {
    "idle": {"analytics_bots": []},
    "plain": {"analytics_searches": SEARCHES},
    "member": {
        "analytics_bots": [],
        "analytics_pool_workers": 2,
        "analytics_memory_mb": "608",  # as of the command line
        **POOL,
    },
    "head": {"analytics_pool_schedules": True, "monitoring_enabled": True, **POOL},
    "large": {"analytics_memory_mb": 100_000_000},
    "climbs": {"analytics_searches": [{"symbol": "../up", "options": []}]},
    "wordy": {"analytics_searches": [{"symbol": "BTCUSDT", "options": [*WORDS, "--gridz", "1"]}]},
    "crowded": {"analytics_pool_workers": 2, **POOL},
    "keyless": {"analytics_pool_scheduler": "tls://192.168.1.10:8786"},
    "open": {**POOL, "analytics_pool_scheduler": "tcp://192.168.1.10:8786"},
    "late": {"analytics_time": 210},
    "endless": {"analytics_night_minutes": 1500},
    # Two bots on one Pi, and the container's name in the place of the project's.
    "eth": {"analytics_bots": [], "grid_bot_project": "gridberry-eth"},
    "both": {
        "grid_bot_neighbors": ["both", "eth"],
        "analytics_bots": [{"name": "gridberry"}, {"name": "gridberry-eth"}],
        "analytics_time": 210,
    },
    "stranger": {"analytics_bots": [{"name": "gridberry-bot"}]},
    "gone": {"analytics_state": "absent", "analytics_purge": True, "analytics_bots": []},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, dict[str, dict]]:
    """What the whole role does in check mode, by host and task: one run for all."""
    directory = tmp_path_factory.mktemp("analytics")
    hosts = {
        name: {
            "analytics_bots": BOTS,
            "analytics_directory": str(directory / name / "opt/analytics"),
            "analytics_results": str(directory / name / "results"),
        }
        | settings
        for name, settings in HOSTS.items()
    }
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
    role = {
        "ansible.builtin.import_role": {"name": "analytics"},
        "when": "inventory_hostname not in ['idle', 'eth']",
    }
    wanted = {"hosts": "all", "gather_facts": False, "tasks": [role]}
    (directory / "play.json").write_text(json.dumps([wanted]))
    command = ["ansible-playbook", "--check", "--diff", "-i", directory / "inventory.json"]
    done = subprocess.run(
        [*command, directory / "play.json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        },
    )
    assert POOL["analytics_pool_key"] not in done.stdout + done.stderr
    answer, _ = json.JSONDecoder().raw_decode(done.stdout)
    found: dict[str, dict[str, dict]] = {name: {} for name in HOSTS}
    for task in answer["plays"][0]["tasks"]:
        for name, result in task["hosts"].items():
            found[name][task["task"]["name"].rpartition(" : ")[2]] = result
    return found


def written(tasks: dict[str, dict]) -> dict[str, str]:
    """The files that would be written, by their last names."""
    return {
        Path(each["after_header"]).name: each["after"]
        for result in tasks.values()
        for each in result.get("diff") or []
        if isinstance(each, dict) and each.get("after_header")
    }


def setting(unit: str, name: str) -> str:
    return next(line for line in unit.splitlines() if line.startswith(f"{name}=")).partition("=")[2]


RUN = "Run the jobs each night, and what the pool has here"


def test_jobs_have_limits_that_leave_bots_alone(told):
    files = written(told["plain"])
    (name,) = [name for name in files if name.endswith(".slice")]
    assert "-" not in name  # idle beside all others, and not inside gridberry.slice, which is not
    slice_ = files[name]
    assert setting(files["gridberry-analytics.service"], "Slice") == name
    assert setting(slice_, "CPUWeight") == "idle"
    assert setting(slice_, "IOWeight") == "1"
    assert setting(slice_, "MemoryMax") == "512M"
    service = files["gridberry-analytics.service"]
    assert "room 768 " in setting(service, "ExecCondition")
    assert setting(service, "TimeoutStartSec") == "480min"
    words = shlex.split(setting(service, "ExecStart"))
    assert words[2:4] == ["night", words[3]]
    assert words[3].startswith("gridberry-analytics:")
    assert words[-1] == "gridberry"
    assert setting(files["gridberry-analytics.timer"], "OnCalendar") == "03:30 UTC"
    # From when on a night is missed: a day, eight hours, and half an hour.
    late = files["gridberry_analytics_nightly.prom"].splitlines()[-1]
    assert late == "gridberry_analytics_late_after_seconds 117000"
    idle = written(told["member"])["gridberry_analytics_nightly.prom"]
    assert "\ngridberry" not in idle


def test_the_configuration_says_what_the_settings_say(told):
    settings = tomllib.loads(written(told["plain"])["analytics.toml"])
    assert settings["bots"] == [{"state": "/bots/gridberry", **BOTS[0]}]
    assert settings["searches"] == SEARCHES
    assert "tls" not in settings
    effects = told["plain"][RUN]["applied"]
    assert "The timer runs" in effects
    assert "The pool's workers run" not in effects


def test_a_member_of_a_pool_has_its_key_in_a_file_alone(told):
    files = written(told["member"])
    assert files["pool.key"] == "(secret, new)\n"
    worker = setting(files["gridberry-analytics-worker.service"], "ExecStart")
    assert "--processes 2 --memory-mb 256 --port 8800" in worker
    effects = told["member"][RUN]["applied"]
    assert "The pool's workers run" in effects
    assert "The timer runs" not in effects


def test_the_pools_head_schedules_and_uses_it(told):
    files = written(told["head"])
    scheduler = setting(files["gridberry-analytics-scheduler.service"], "ExecStart")
    assert scheduler.endswith("--listen tls://0.0.0.0:8786")
    assert tomllib.loads(files["analytics.toml"])["scheduler"] == POOL["analytics_pool_scheduler"]
    assert "The pool's scheduler runs" in told["head"][RUN]["applied"]
    assert told["head"]["Have its metrics read"]["changed"]
    assert told["plain"]["Have its metrics read"]["skipped"]


def test_hosts_that_do_nothing_get_no_image(told):
    said = told["plain"]["Tell what would be built"]["msg"]
    assert said.endswith(" on plain, member, head")


def test_an_undo_needs_no_settings_and_says_what_goes(told):
    assert not [result for result in told["gone"].values() if result.get("failed")]
    assert told["plain"]["Remove the results"]["skipped"]


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("large", "large: analytics_memory_mb is 100000000, and the host has"),
        ("climbs", "climbs: analytics_searches: symbol = '../up': needs letters, digits"),
        ("wordy", "wordy: analytics_searches: BTCUSDT: options: unrecognized arguments"),
        ("crowded", "analytics_pool_workers is 2, and analytics_memory_mb 512; each needs 256 MB"),
        ("keyless", "keyless: analytics_pool_scheduler is set, which needs"),
        ("open", "open: analytics_pool_scheduler is tcp://192.168.1.10:8786; use tls://HOST:PORT"),
        (
            "stranger",
            "gridberry-bot; use the compose project of a bot of this host: gridberry",
        ),
        # Of both bots nothing is said.
        ("both", 'both: analytics_time is 210; use a time such as "03:30", with its quotes'),
        ("late", 'late: analytics_time is 210; use a time such as "03:30", with its quotes'),
        ("endless", "analytics_night_minutes 1500; use at least 1, at most the latter"),
    ],
)
def test_what_is_not_allowed_is_one_line(told, host, line):
    failed = [result["msg"] for result in told[host].values() if result.get("failed")]
    assert len(failed) == 1
    assert line in failed[0]
    assert "\n" not in failed[0]


PROGRAM = ROOT / "roles/analytics/files/analytics.sh"


def ran(tmp_path: Path, *words: object) -> list[str]:
    """What Docker would be told, by a bot whose books are a volume and one that is not there."""
    fake = tmp_path / "bin"
    fake.mkdir(exist_ok=True)
    (fake / "docker").write_text(
        "#!/bin/sh\n"
        'case "$*" in *inspect*nobody*) exit 1 ;; *inspect*) echo /volumes/live/_data ;;'
        ' *) printf "%s\\n" "$@" ;; esac\n'
    )
    (fake / "docker").chmod(0o755)
    return subprocess.run(
        ["sh", PROGRAM, *map(str, words)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{fake}:{os.environ['PATH']}"},
    ).stdout.splitlines()


def test_a_night_sees_books_and_recording_read_only_and_no_network(tmp_path):
    words = ("night", "image:1", tmp_path, 512, "/mnt/my data/recorder", "/mnt/data/results")
    told = ran(tmp_path, *words, "pi1", "nobody")
    assert told[:2] == ["run", "--rm"]
    volumes = [told[at + 1] for at, word in enumerate(told) if word == "--volume"]
    assert volumes == [
        f"{tmp_path}/analytics.toml:/etc/analytics/analytics.toml:ro",
        "/mnt/my data/recorder:/var/lib/recorder:ro",
        "/mnt/data/results:/var/lib/analytics",
        "/volumes/live/_data:/bots/pi1:ro",
    ]
    assert told[told.index("--network") + 1] == "none"
    assert told[told.index("--memory") + 1] == "512m"
    assert told[told.index("--cgroup-parent") + 1] == "gridberry_analytics.slice"
    assert told[-4:] == ["image:1", "nightly", "--config", "/etc/analytics/analytics.toml"]


def test_a_pool_has_the_network_and_its_key(tmp_path):
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/pool.key").write_text("")
    told = ran(tmp_path, "worker", "image:1", tmp_path, 512, "--scheduler", "tls://a:1")
    assert told[told.index("--network") + 1] == "host"
    assert told[told.index("--name") + 1] == "gridberry-analytics-worker"
    assert f"{tmp_path}/tls:/etc/analytics/tls:ro" in told
    assert told[-6:] == [
        "image:1",
        "worker",
        "--scheduler",
        "tls://a:1",
        "--tls",
        "/etc/analytics/tls",
    ]


def test_a_night_without_room_is_left_out(tmp_path):
    ran(tmp_path, "room", 1, "/")
    with pytest.raises(subprocess.CalledProcessError) as left_out:
        ran(tmp_path, "room", 10**9, "/")
    assert left_out.value.returncode == 1
    assert left_out.value.stdout.startswith("no room: ")
