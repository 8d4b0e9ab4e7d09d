"""Every command that a document shows works: run here, read by its program, or run elsewhere.

A command in a block of code of README.md, docs/ or a role's README is one of `WAYS`, or the test
says that none fits. `run` runs it, `listed` has Ansible read playbook, inventory, hosts and tags,
`parsed` has the program read its arguments and no more. What takes minutes or needs a Pi is run by
what `WAYS` names beside it; the text there must be what that file has.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.try_out import PATIENCE_SECONDS, ask, free_port

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("roles/*/README.md")),
    *sorted(ROOT.glob("plugins/**/README.md")),
]
BLOCK = re.compile(r"^( *)```(sh|console)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# A command's beginning; how it is tested here; who runs it for real: a file and a text in it.
WAYS: dict[str, tuple[str, ...]] = {
    r"\./gridberry try\b": ("elsewhere", "tests/fleet/test_try_out.py", '"fleet.try_out"'),
    r"python -m gridexchange\.ib ": (
        *("elsewhere", "bot/tests/exchange/ib/test_process.py"),
        '"gridexchange.ib", "--state-directory"',
    ),
    r"python -m watcher ": (
        *("elsewhere", "bot/tests/together/ib/test_watcher.py"),
        '"-m", "watcher", "--config"',
    ),
    r"sudo /usr/local/lib/gridberry/report\.py --to ": (
        *("elsewhere", "tests/monitoring/test_report.py"),
        '"--to"',
    ),
    r"\./gridberry demo\b": ("elsewhere", "tests/test_launcher.py", '"demo"'),
    r"\./gridberry setup\b": ("elsewhere", "tests/test_launcher.py", '"setup"'),
    r"\./gridberry (check|deploy|rollback|rollout|status|audit|report|logs|open|ssh)\b": ("verb",),
    r"\./gridberry (stop|start|pause|flatten|resume|rotate-keys|backup|restore)\b": ("verb",),
    r'eval "\$\(\./gridberry completion bash\)"$': (
        *("elsewhere", "tests/fleet/test_cli.py"),
        'run("completion", "bash")',
    ),
    r"\./gridberry (prepare|find|new)\b": ("elsewhere", "tests/fleet/test_first_pi.py", "COMMANDS"),
    r"(sudo apt-get install|ssh-keygen|ssh) ": ("elsewhere", "docs/first-pi.md", "## Tried"),
    r"\(umask 077 && openssl passwd -6 >hash\)$": ("elsewhere", "docs/first-pi.md", "## Tried"),
    r"git config ": ("elsewhere", "tests/ansible/test_pull.py", '"gpg.format=ssh"'),
    r"\./gridberry test( --quick)?$": ("elsewhere", ".ci/run", "exec ./gridberry test"),
    r"\./gridberry test --full": ("parsed",),
    r"cp -r inventory/example inventory/home$": ("run",),
    r"\. \.venv/bin/activate$": ("elsewhere", "gridberry", "python3 -m venv"),
    r"cd inventory/home/group_vars/trading\n": ("run",),
    r'\(umask 077 && "\$\{EDITOR:-nano\}" ~/.gridberry-vault\)$': ("run",),
    r"export ANSIBLE_VAULT_PASSWORD_FILE=~/.gridberry-vault$": ("run",),
    # For a recipient instead of a passphrase, which age asks a terminal for.
    r"age --encrypt ": (
        *("elsewhere", "tests/fleet/test_vault_password_age.py"),
        '"age", "--encrypt"',
    ),
    r"export ANSIBLE_VAULT_PASSWORD_FILE=\$PWD/fleet/vault-password-age$": (
        *("elsewhere", "tests/fleet/test_vault_password_age.py"),
        '"fleet" / "vault-password-age"',
    ),
    # The example's inventory has no database.
    r"ansible-playbook .*_database.yml": (
        *("elsewhere", "tests/database/scenarios.py"),
        '"restore_database"',
    ),
    r"sudo python3 -I /usr/local/lib/gridberry/database (status|wait|load) ?": (
        *("elsewhere", "tests/database/scenarios.py"),
        'PROGRAM, "load"',
    ),
    r"sudo python3 -I /usr/local/lib/gridberry/ib_gateway status": (
        *("elsewhere", "tests/ib_gateway/scenarios.py"),
        '*PROGRAM, "status"',
    ),
    r"ansible-playbook (?!.*_database\.yml)": ("listed",),
    r"cd /opt/gridberry/bot\n": ("inside",),
    r"for host in ": ("inside",),
    r"ansible -i inventory/home trading ": ("inside",),
    r"gridbot (backtest|optimize|candles) ": ("run",),
    r"printf .*\ngridexchange ": ("served",),
    r"python3? (-m (benchmarks|virtual_pi)\b|bot/benchmarks/)": ("parsed",),
    r"tests/lynis_audit.py ": ("parsed",),
    r"pytest ": ("elsewhere", ".ci/run", "exec ./gridberry test"),
    r"jq ": ("run",),
    r"recorder (query|gaps|export) ": (
        *("elsewhere", "bot/tests/recorder/test_reading.py"),
        'command("gaps"',
    ),
    r"openssl req -x509 ": (
        "elsewhere",
        "bot/tests/analytics/pool.py",
        '"openssl", "req", "-x509"',
    ),
    r"analytics (optimize|scheduler|worker) ": (
        *("elsewhere", "bot/tests/analytics/pool.py"),
        '"-m", "analytics", name',
    ),
    r"analytics compare ": (
        *("elsewhere", "bot/tests/analytics/hour.py"),
        '"analytics", "compare"',
    ),
    r"curl -s -H \"Authorization: Bearer \$\(sudo cat /opt/gridberry/bot/metrics\.token\)\"": (
        *("elsewhere", "bot/tests/together/metrics/test_figures.py"),
        "Bearer ",
    ),
    r"(curl -s -H \"Authorization: Bearer \$TOKEN\")": (
        *("elsewhere", "bot/tests/together/page/test_api.py"),
        '"/proposals"',
    ),
    r"sudo docker exec gridberry-bot gridbot tokens ": (
        *("elsewhere", "bot/tests/base/test_tokens.py"),
        '"tokens"',
    ),
}
LONGEST_SECONDS = 120
# Their lines depend on each other: the block is one command.
WHOLE = re.compile(r"(cd|for|printf) ")
# Reads the arguments of the program that is named, as it would, and ends there.
READ_ARGUMENTS = """
import argparse, pathlib, runpy, sys
parse = argparse.ArgumentParser.parse_args
def read(self, *words, **more):
    parse(self, *words, **more)
    raise SystemExit(0)
argparse.ArgumentParser.parse_args = read
_, how, name, *words = sys.argv
sys.argv = [name, *words]
if how == "module":
    runpy.run_module(name, run_name="__main__", alter_sys=True)
else:
    sys.path.insert(0, str(pathlib.Path(name).parent))
    runpy.run_path(name, run_name="__main__")
raise SystemExit("it has read no arguments")
"""


def commands_of(text: str) -> Iterator[str]:
    """Yield a document's commands."""
    for _, kind, indented in BLOCK.findall(text):
        lines = textwrap.dedent(indented).splitlines()
        if kind == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        block = "\n".join(re.sub(r"(^| +)# .*$", "", line) for line in lines).strip()
        block = re.sub(r"\\\n *", "", block)
        loop = re.match(r"for .*?^done\b.*?$", block, re.MULTILINE | re.DOTALL)
        if loop:
            yield loop[0]
        rest = block[loop.end() :].strip() if loop else block
        yield from [rest] if WHOLE.match(rest) else filter(None, rest.splitlines())


def documented() -> list[object]:
    """Return each command once, with the document that has it first."""
    found: dict[str, str] = {}
    for document in DOCUMENTS:
        for command in commands_of(document.read_text()):
            found.setdefault(command, document.relative_to(ROOT).as_posix())
    return [pytest.param(command, id=f"{name}: {command[:70]}") for command, name in found.items()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout's root, as far as the commands need one, with what their words stand for."""
    place = tmp_path_factory.mktemp("documents")
    for name in ("inventory", "playbooks", "roles", "plugins", "ansible.cfg"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("home"))
        else:
            shutil.copy(source, place)
    shutil.copytree(place / "inventory/example", place / "inventory/home")
    lines = ["timestamp,open,high,low,close,volume"]
    for hour in range(40 * 24):
        prices = [40_000 + 100 * ((step * 7919) % 41) for step in (hour, hour + 1)]
        row = (prices[0], max(prices) + 20, min(prices) - 20, prices[1], 3)
        lines.append(",".join(map(str, (1_704_067_200_000 + hour * 3_600_000, *row))))
    (place / "candles.csv").write_text("\n".join(lines) + "\n")
    (place / "password").write_text("a password\n")
    (place / "incidents.jsonl").write_text('{"kind": "oom_kill", "container": "gridberry-bot"}\n')
    return place


# What a reader puts in, and what is written in brackets because it may be left out.
WORDS = {
    r"\bspy\.csv\b": "candles.csv",
    r"\bFILE\b": "candles.csv",
    r"\bIN\b": "candles.csv",
    r"\bCANDLES\.csv\b": "candles.csv",
    r"\bINVENTORY\b": "inventory/home",
    r"\bCOMMIT\b": "HEAD",
    r"\bDIRECTORY\b": "directory",
    r"\[(-[^]]*)\]": r"\1",
    r"/var/lib/gridberry/": "",
    r"^cp -r inventory/example inventory/home$": "cp -r inventory/example inventory/copy",
}


def run(words: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in that place, with this environment's programs and no terminal."""
    tools = Path(sys.executable).parent
    environment = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bot/src'}",
        "GRIDBERRY_STATE": str(place / "state"),
        "ANSIBLE_CONFIG": str(place / "ansible.cfg"),
        "ANSIBLE_VAULT_PASSWORD_FILE": str(place / "password"),
        "EDITOR": "true",
        "PYTHONHASHSEED": "0",  # without it, the simulated world starts itself again
    }
    return subprocess.run(
        words,
        check=False,
        capture_output=True,
        text=True,
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=LONGEST_SECONDS,
    )


def read_arguments(how: str, name: str, words: list[str], place: Path) -> None:
    """Have a Python program read its arguments."""
    result = run([sys.executable, "-c", READ_ARGUMENTS, how, name, *words], place)
    assert result.returncode == 0, result.stderr


def parse(command: str, place: Path) -> None:
    """Have a program of the checkout read the arguments of a command."""
    words = shlex.split(command)
    if words[:2] == ["./gridberry", "test"]:
        read_arguments("module", "tests.full", words[3:], place)
    elif words[1:2] == ["-m"]:
        read_arguments("module", words[2], words[3:], place)
    else:
        path, *rest = words[1:] if words[0].startswith("python") else words
        read_arguments("file", str(ROOT / path), rest, place)


def read_inside(command: str, place: Path) -> None:
    """Have the bot read the arguments of what a command runs in the bot's container."""
    inner = re.findall(r"(?:gridbot|--rm bot) (\w+ --config [^'\"&|>]*)", command)
    assert inner
    for words in inner:
        read_arguments("module", "gridbot", shlex.split(words), place)


def have_listed(command: str, place: Path) -> None:
    """Have Ansible find a play's hosts and tasks."""
    result = run([*shlex.split(command), "--list-hosts", "--list-tasks"], place)
    assert result.returncode == 0, result.stderr
    for says in (r"hosts \([1-9]", "TAGS: "):
        assert re.search(says, result.stdout), result.stdout


def serve(command: str, place: Path) -> None:
    """Start the practice exchange as written, on free ports, and ask it something."""
    files, server = command.split("\n")
    assert run(["bash", "-ec", files], place).returncode == 0
    port = free_port()
    words = shlex.split(server.replace("gridexchange", "-m gridexchange", 1))
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words, "--port", str(port)],
            cwd=place,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'bot/src'}"},
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while ask(port, "/api/v3/ping") is None:
            assert process.poll() is None, (place / "log").read_text()
            assert time.monotonic() < end, (place / "log").read_text()
            time.sleep(0.1)
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0


def execute(command: str, place: Path) -> None:
    """Run it to its end."""
    result = run(["bash", "-ec", command], place)
    assert result.returncode == 0, result.stderr


def read_verb(command: str, place: Path) -> None:
    """Have the launcher's verb read its arguments; tests/fleet/test_cli.py runs each."""
    read_arguments("module", "fleet.cli", shlex.split(command)[1:], place)


HOW = {
    "verb": read_verb,
    "inside": read_inside,
    "listed": have_listed,
    "parsed": parse,
    "run": execute,
    "served": serve,
}


@pytest.mark.parametrize("command", documented())
def test_a_documented_command(command: str, place: Path) -> None:
    ways = [way for pattern, way in WAYS.items() if re.match(pattern, command)]
    assert len(ways) == 1, f"no one way to test it: {ways}"
    way, *where = ways[0]
    if way == "elsewhere":
        file, text = where
        assert text in (ROOT / file).read_text()
        return
    for word, value in WORDS.items():
        command = re.sub(word, value, command)
    if command.startswith("jq ") and shutil.which("jq") is None:
        pytest.skip("jq is not installed here")
    HOW[way](command, place)


def test_every_way_has_a_command() -> None:
    commands = [command for document in DOCUMENTS for command in commands_of(document.read_text())]
    unused = [way for way in WAYS if not any(re.match(way, command) for command in commands)]
    assert not unused
