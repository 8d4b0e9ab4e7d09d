"""The role analytics on a virtual Pi: limits in force, a night with results, none without room."""

import json

import pytest

pytestmark = pytest.mark.long

UNIT, SLICE = "gridberry-analytics", "gridberry_analytics.slice"
RESULTS = "/var/lib/gridberry-analytics"
SETTINGS = json.dumps(
    {
        "analytics_bots": [{"name": "gridberry"}],
        "analytics_memory_mb": 300,
        "analytics_results": RESULTS,
        # There is no recording: the report needs none, and the comparison says so.
        "analytics_recording": "/var/lib/gridberry-no-recording",
    }
)


@pytest.fixture(scope="module")
def set_up(pi, machine):
    """The role, applied twice; and taken away again."""
    words = ("--tags", "analytics", "-e", SETTINGS)
    result = machine.playbook(*words)
    assert result.returncode == 0, result.stdout[-3000:]
    again = machine.playbook(*words)
    assert again.returncode == 0, again.stdout[-3000:]
    assert "changed=0" in again.stdout
    yield
    words += ("-e", "analytics_state=absent", "-e", "analytics_purge=true")
    result = machine.playbook(*words)
    assert result.returncode == 0, result.stdout[-3000:]
    units = "/etc/systemd/system/gridberry?analytics*"
    left = pi.run(f"ls -d {units} /opt/gridberry/analytics {RESULTS}").stdout
    assert left == ""


@pytest.mark.usefixtures("set_up")
class TestAnalytics:
    def test_its_timer_runs_and_its_image_stays(self, pi):
        timer = f"systemctl is-enabled {UNIT}.timer && systemctl is-active {UNIT}.timer"
        assert pi.run(timer).rc == 0
        image = pi.check_output(f"cat /var/lib/gridberry/kept-images/{UNIT}").strip()
        assert pi.run(f"docker image inspect {image}").rc == 0

    def test_a_night_leaves_what_it_could_do_and_says_what_not(self, pi):
        assert pi.run(f"systemctl start {UNIT}.service").rc != 0
        told = pi.check_output(f"cat {RESULTS}/analytics.prom")
        assert 'gridberry_analytics_job_success{job="report",name="gridberry"} 1' in told
        assert 'gridberry_analytics_job_success{job="compare",name="gridberry"} 0' in told
        said = pi.check_output(f"journalctl --unit {UNIT} --output cat")
        assert "compare gridberry: " in said
        (path,) = pi.check_output(f"ls {RESULTS}/2*/report-gridberry.json").split()
        assert "symbols" in json.loads(pi.check_output(f"cat {path}"))
        assert pi.run("docker container inspect gridberry-bot").rc == 0

    def test_its_limits_are_in_force(self, pi):
        shown = pi.check_output(f"systemctl show -p CPUWeight -p MemoryMax {SLICE}")
        assert set(shown.split()) == {"CPUWeight=idle", f"MemoryMax={300 * 1024 * 1024}"}

    def test_a_night_without_room_is_left_out(self, pi):
        assert pi.run(f"sh /usr/local/lib/gridberry/analytics.sh room 100000000 {RESULTS}").rc == 1
