"""Dashboard, rules and summary ask for nothing that nobody measures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/monitoring/files"
# Of the programs from Debian: node exporter, VictoriaMetrics, vmalert, Alertmanager.
OF_OTHERS = {
    "node_cpu_seconds_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "node_textfile_mtime_seconds",
    "process_resident_memory_bytes",
    "vm_cache_entries",
    "vm_storage_is_read_only",
    "vmalert_execution_errors_total",
    "alertmanager_notifications_failed_total",
    "gridberry_expected_host",  # the role writes it on the server
}
LABEL = re.compile(r'=~?"[^"]*"')
NAME = re.compile(r"\b(?:gridbot|gridberry|node|vm|vmalert|alertmanager|process)_\w+")


def measured() -> set[str]:
    """The names of all metrics: of the bot, a Pi's health, and the programs beside it."""
    names = (
        *("metrics.md", "monitoring.md", "analytics.md"),
        *("database-operations.md", "interactive-brokers.md"),
    )
    tables = [ROOT / "docs" / name for name in names]
    found = set(OF_OTHERS)
    for table in tables:
        for name, kind in re.findall(
            r"^\| `(\w+)` \| (\w*)", table.read_text(encoding="utf-8"), re.MULTILINE
        ):
            found |= {f"{name}_bucket", f"{name}_count"} if kind == "histogram" else {name}
    return found


def asked() -> list[tuple[str, str]]:
    """Who asks, and the expression."""
    panels = json.loads((ROLE / "grafana/gridberry.json").read_text(encoding="utf-8"))["panels"]
    found = [(one["title"], target["expr"]) for one in panels for target in one.get("targets", [])]
    for path in sorted((ROLE / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            found += [(rule["alert"], rule["expr"]) for rule in group["rules"]]
    program = (ROLE / "messages.py").read_text(encoding="utf-8")
    found += [
        ("summary", line) for line in program.splitlines() if re.search(r'^    ".*": f?[\'"]', line)
    ]
    return found


@pytest.mark.parametrize(("who", "expression"), asked())
def test_what_is_asked_for_is_measured(who, expression):
    unknown = set(NAME.findall(LABEL.sub("", expression))) - measured()
    assert not unknown, who


def test_the_table_of_a_pis_health_is_that_of_the_program():
    program = (ROLE / "health.py").read_text(encoding="utf-8")
    names = set(re.findall(r'^    "(gridberry_\w+)": "', program, re.MULTILINE))
    assert names
    document = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert names == set(re.findall(r"^\| `(gridberry_\w+)`", document, re.MULTILINE))


def test_no_panel_adds_up_paper_and_live():
    for who, expression in asked():
        if re.search(r"sum.*gridbot_(grid_profit|equity)\b", expression):
            assert "mode" in expression, who
