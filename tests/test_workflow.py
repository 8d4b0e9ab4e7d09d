"""The workflow for hosted machines runs what the gate runs, with nothing that can change unseen."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
[JOB] = WORKFLOW["jobs"].values()


def test_it_runs_the_gate_on_arm64() -> None:
    [command] = re.findall(r"^exec (.+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert [step["run"] for step in JOB["steps"] if "run" in step] == [command]
    assert JOB["runs-on"].endswith("-arm")


def test_actions_are_pinned_and_the_token_only_reads() -> None:
    actions = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)
    assert WORKFLOW["permissions"] == {"contents": "read"}
