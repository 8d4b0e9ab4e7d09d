"""The Gateway's own firewall, with the kernel's rules in a network of the test's own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from jinja2 import Environment

TEMPLATES = Path(__file__).resolve().parents[2] / "roles/ib_gateway/templates"


def test_rules_that_nftables_service_has_emptied_are_back_at_the_next_look(tmp_path):
    told = {
        "__ib_gateway_place": str(tmp_path),
        "__ib_gateway_port": 4002,
        "ib_gateway_trusted_addresses": ["192.168.1.21"],
    }
    text = (TEMPLATES / "api.nft.j2").read_text()
    rules = Environment(trim_blocks=True, autoescape=True).from_string(text).render(told)
    (tmp_path / "api.nft").write_text(rules)
    look = re.findall(r"(?m)^ExecStartPre=-\+(.*)$", (TEMPLATES / "health.service.j2").read_text())
    [command] = [line.replace("{{ __ib_gateway_place }}", str(tmp_path)) for line in look]
    script = f"nft -f {tmp_path}/api.nft; nft flush ruleset; {command}; {command}; nft list ruleset"
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", "sh", "-ec", script],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"},
    )
    assert done.stdout.count("tcp dport { 4002, 5900 } drop") == 1
    assert done.stdout.count("ip saddr 192.168.1.21 tcp dport 4002 accept") == 1
