"""Asks a bot's API everything that its OpenAPI document allows, and much that it does not.

    python -m tests.fuzz_api [OPTIONS OF SCHEMATHESIS]

Installs schemathesis beside the checkout, starts a practice exchange and a bot with tokens, and
asks with a token that can act. No answer may be a server's error or contradict the document, and
the bot trades on afterwards. Its last line is the outcome.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.browser import ROOT, installed
from virtual_pi.paths import cache_directory

sys.path.insert(0, os.fspath(ROOT / "bot" / "benchmarks"))

from start import bench, environment

LOCK = ROOT / "tests" / "fuzz.lock"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def switch_on(directory: Path) -> str:
    """Have a bot's file name a file of tokens, and make one that can act."""
    tokens, config = directory / "tokens.json", directory / "bot.toml"
    rules = f'[page]\ntokens_file = "{tokens}"\nacting = true\n'
    config.write_text(config.read_text().replace("[page]\n", rules))
    words = ("tokens", "create", "fuzz", "--scope", "act", "--file", tokens)
    command = [sys.executable, "-m", "gridbot", *map(str, words)]
    done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


def main(words: list[str]) -> int:
    """Ask; return the exit status."""
    packages = installed(LOCK, cache_directory())
    with bench(60) as one:
        secret = switch_on(one.directory)
        one.start_exchange("--speed", "600", "--seed", "7")
        process = one.start_bot()
        one.wait_for_trading()
        address = f"http://127.0.0.1:{one.page}"
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "schemathesis.cli",
                    "run",
                    f"{address}/api/v1/openapi.json",
                ),
                *("--url", f"{address}/api/v1", "--header", f"Authorization: Bearer {secret}"),
                *("--exclude-path", "/events", "--checks", ",".join(CHECKS), "--seed", "1", *words),
            ],
            env=os.environ | {"PYTHONPATH": os.fspath(packages)},
            cwd=one.directory,
            check=False,
        )
        answers = one.status() is not None and process.poll() is None
        traces = one.log().count("Traceback")
    good = done.returncode == 0 and answers and not traces
    print(
        f"schemathesis: {'ok' if good else 'FAILED'}; the bot answers: {answers}; traces: {traces}"
    )
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
