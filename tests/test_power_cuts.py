"""Power cuts in the middle of a first run: fewer than the benchmark's, where they are asked for."""

import os
import time
from pathlib import Path

import pytest

from benchmarks.power_cuts import Plan, run
from virtual_pi.paths import make_private

ROOT = Path(__file__).resolve().parents[1]
COUNT = int(os.environ.get("GRIDBERRY_POWER_CUTS", "0"))
LINES = 30


def ends(state: Path) -> str:
    """How the logs of what failed end; the directory may be gone when somebody reads this."""
    logs = [
        log
        for failure in sorted(state.glob("*/failure.txt"))
        for log in failure.parent.glob("*.log")
    ]
    return "\n".join(
        "\n".join([f"--- {log}", *log.read_text().splitlines()[-LINES:]]) for log in sorted(logs)
    )


@pytest.mark.skipif(not COUNT, reason="takes minutes: GRIDBERRY_POWER_CUTS=2 cuts the power twice")
def test_a_pi_boots_and_a_second_run_converges(tmp_path, capsys):
    seed = int(os.environ.get("GRIDBERRY_POWER_CUTS_SEED", time.strftime("%j")))
    make_private(tmp_path)
    # The benchmark asks for a third run that changes nothing; of a run that nobody cut, the
    # scenarios do.
    plan = Plan(playbook=ROOT / "playbooks" / "harden.yml", state=tmp_path, third=False)
    with capsys.disabled():
        report = run(COUNT, seed, plan, from_one_converge=True)
        print(ends(tmp_path))
    assert report.ok, report.closing()
    assert len(report.cuts) == COUNT
