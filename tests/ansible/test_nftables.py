"""nftables.service beside Docker, with the kernel's own rules in a network of the test's own."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from jinja2 import Environment

ROLE = Path(__file__).resolve().parents[2] / "roles/hardening"
# Debian's nftables.conf begins so; a port that its owner opens is counted below.
RULES = """#!/usr/sbin/nft -f

flush ruleset

table inet filter {
    chain input {
        type filter hook input priority filter;
        tcp dport 8443 accept
    }
}
"""
OTHERS = """
table ip nat {
    chain DOCKER {
        tcp dport 8080 dnat to 172.17.0.2:80
    }
    chain PREROUTING {
        type nat hook prerouting priority dstnat;
        jump DOCKER
    }
}
table ip6 docker-bridges {
}
table inet gridberry {
    chain input {
        type filter hook input priority filter; policy drop;
        tcp dport 22 accept
    }
}
table inet gridberry_ib {
    chain input {
        type filter hook input priority -5; policy accept;
        tcp dport 4002 drop
    }
}
table inet left_over {
}
"""


def commands(verb: str, program: Path) -> list[str]:
    """What systemd runs for a verb: Debian's own line, or those of the drop-in."""
    own = "flush ruleset" if verb == "ExecStop" else f"-f {program.parent}/rules"
    told = [f"nft {own}"]
    template = (ROLE / "templates/nftables.conf.j2").read_text()
    text = (
        Environment(autoescape=True)
        .from_string(template)
        .render(__hardening_nftables_program=program)
    )
    for value in re.findall(rf"^{verb}=-?(.*)$", text, re.MULTILINE):
        # An empty one takes back what was there before.
        told = [*told, value] if value else []
    return told


@pytest.fixture
def rules(tmp_path):
    """The function that runs units' commands one after the other, and returns the rules then."""
    program = tmp_path / "nftables"
    program.write_text((ROLE / "files/nftables.sh").read_text())
    program.chmod(0o755)
    (tmp_path / "rules").write_text(RULES)
    (tmp_path / "others").write_text(OTHERS)

    def run(*verbs: str, then: str = "true") -> str:
        lines = [line for verb in verbs for line in commands(verb, program)]
        script = "\n".join([f"nft -f {tmp_path}/others", *lines, then, "nft list ruleset"])
        done = subprocess.run(
            ["unshare", "--net", "--map-root-user", "sh", "-ec", script],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ
            | {"RULES": f"{tmp_path}/rules", "PATH": f"{os.environ['PATH']}:/usr/sbin"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.path = tmp_path
    return run


@pytest.mark.parametrize(
    "verbs",
    [
        ("ExecStart",),
        ("ExecStart", "ExecReload"),
        ("ExecStart", "ExecStop", "ExecStart"),
        ("ExecStart", "ExecStart"),
    ],
)
def test_rules_of_others_outlive_a_start_and_what_is_loaded_is_there_once(rules, verbs):
    found = rules(*verbs)
    assert found.count("tcp dport 8080 dnat to 172.17.0.2:80") == 1
    assert "table ip6 docker-bridges" in found
    assert found.count("tcp dport 22 accept") == 1
    assert found.count("tcp dport 4002 drop") == 1
    assert found.count("tcp dport 8443 accept") == 1
    assert "left_over" not in found


def test_a_stop_takes_the_owners_rules_alone(rules):
    found = rules("ExecStart", "ExecStop")
    assert "dnat to 172.17.0.2:80" in found
    assert "tcp dport 22 accept" in found
    assert "8443" not in found


@pytest.mark.parametrize("text", [RULES.replace("accept", "acept"), None])
def test_rules_that_are_wrong_or_missing_change_nothing(rules, text):
    if text:
        (rules.path / "wrong").write_text(text)
    wrong = f"! RULES={rules.path}/wrong {rules.path}/nftables start"
    assert rules("ExecStart", then=wrong) == rules("ExecStart")
