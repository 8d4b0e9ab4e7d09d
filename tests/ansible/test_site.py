"""site.yml: what a fleet pays for what its hosts do without."""

from pathlib import Path

import yaml

SITE = Path(__file__).resolve().parents[2] / "playbooks/site.yml"


def test_a_role_that_a_host_may_do_without_costs_it_one_task():
    plays = yaml.safe_load(SITE.read_text())
    tasks = [task for play in plays for task in play.get("tasks", []) + play.get("post_tasks", [])]
    imported = [task for task in tasks if "ansible.builtin.import_role" in task]
    included = [task for task in tasks if "ansible.builtin.include_role" in task]
    # Imported, each of its tasks would be a process for each host that skips it.
    assert [task["name"] for task in imported if "when" in task] == []
    for task in included:
        role = task["ansible.builtin.include_role"]
        # So that --tags finds the role and what is in it.
        assert task["tags"] == role["apply"]["tags"] == [role["name"]]
    assert included
