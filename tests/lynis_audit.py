#!/usr/bin/env python3
"""Audits a virtual Pi with lynis before and after it is hardened, and wants reasons for the rest.

    . .venv/bin/activate; tests/lynis_audit.py [--release bookworm]

makes a virtual Pi of its own, installs Debian's lynis on it, audits it, runs playbooks/harden.yml,
audits it again and prints both hardening indexes, and each suggestion that is left with its reason
from tests/lynis_reasons.toml. One test is skipped: CRYP-7902 looks when each of 140 certificates
of Debian's ca-certificates ends, adds nothing to the index, and takes a quarter of an hour where
openssl is emulated. The rest takes from ten minutes on an idle machine to three times as long on a
busy one. The exit status is 1 where a suggestion has no reason or the index is below 80.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import textwrap
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REASONS = Path(__file__).with_name("lynis_reasons.toml")
NAME = "lynis-pi"
LOWEST_INDEX = 80
WIDTH = 100
INSTALL = (
    "sudo systemctl mask --quiet lynis.timer && sudo apt-get -qq update && sudo env"
    " DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install lynis"
    " >/dev/null"
)
# Its own exit status counts warnings; whether it came to its end, the index in the report tells.
AUDIT = (
    "cd / && echo skip-test=CRYP-7902 | sudo tee /etc/lynis/custom.prf >/dev/null"
    " && sudo rm -f /var/tmp/lynis.dat && { sudo lynis audit system --quick --quiet --no-log"
    " --report-file /var/tmp/lynis.dat >/dev/null 2>&1; sudo cat /var/tmp/lynis.dat; }"
)


@dataclass(frozen=True)
class Finding:
    """Something that lynis would have otherwise.

    Attributes:
        test: Its test, such as SSH-7408.
        text: What it says, with what it is about.
    """

    test: str
    text: str


@dataclass
class Report:
    """One audit."""

    index: int
    findings: list[Finding] = field(default_factory=list)


def parse_report(text: str) -> Report:
    """Return what a lynis report says.

    A kernel setting is a finding of its own, though lynis has one suggestion for all of them.

    Args:
        text: The report's lines of a name, an equals sign and a value.

    Raises:
        SystemExit: The audit did not come to its end.
    """
    report = Report(index=-1)
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "hardening_index":
            report.index = int(value)
        elif name in ("suggestion[]", "warning[]"):
            test, what, details = (value + "||").split("|")[:3]
            if test != "KRNL-6000":
                about = "" if details in ("", "-") else f": {details}"
                report.findings.append(Finding(test, what + about))
        elif name == "details[]" and value.startswith("KRNL-6000|"):
            parts = dict(part.partition(":")[::2] for part in value.split("|")[2].split(";"))
            report.findings.append(
                Finding(
                    "KRNL-6000",
                    f"{parts['field']} is {parts['value']}, lynis wants {parts['prefval']}",
                )
            )
    if report.index < 0:
        raise SystemExit("lynis: the audit did not come to its end; its report has no index")
    return report


def reason_for(finding: Finding, reasons: list[dict]) -> str | None:
    """Return why a finding is left as it is, or None where nobody has said."""
    for reason in reasons:
        if reason["test"] == finding.test and reason.get("about", "") in finding.text:
            return reason["why"]
    return None


def describe(before: Report, after: Report, reasons: list[dict]) -> tuple[str, int]:
    """Return what is printed, and the exit status."""
    left = {finding: reason_for(finding, reasons) for finding in after.findings}
    lines = [f"what is left, of {len(before.findings)} findings before:"]
    for finding, why in sorted(left.items(), key=lambda item: item[0].test):
        lines.append(f"\n{finding.test}  {finding.text}")
        lines += textwrap.wrap(
            why or "NO REASON", WIDTH, initial_indent="    ", subsequent_indent="    "
        )
    without = sum(why is None for why in left.values())
    lines.append(
        f"\nhardening index: {before.index} before, {after.index} after (at least {LOWEST_INDEX});"
        f" {len(left)} findings left, {without} without a reason in {REASONS.name}"
    )
    return "\n".join(lines), int(without > 0 or after.index < LOWEST_INDEX)


def virtual_pi(*words: str, text: str | None = None) -> str:
    """Run a verb of virtual_pi and return what it printed."""
    command = [sys.executable, "-m", "virtual_pi", *words]
    return subprocess.run(
        command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True, input=text
    ).stdout


def audit(name: str, state: str, keep_in: Path | None) -> Report:
    """Audit a machine.

    Args:
        name: The machine's.
        state: "before" or "after".
        keep_in: Where the report is kept; nowhere where None.
    """
    print(f"{name}: lynis audits it, {state}", flush=True)
    text = virtual_pi("ssh", name, "--", AUDIT)
    if keep_in:
        (keep_in / f"lynis-{state}.dat").write_text(text, encoding="utf-8")
    return parse_report(text)


def harden(name: str, playbook: Path, settings: list[str]) -> None:
    """Run a playbook on a machine."""
    print(f"{name}: {playbook.name}", flush=True)
    command = ["ansible-playbook", "-i", "inventory/virtual", str(playbook), "--limit", name]
    for setting in settings:
        command += ["-e", setting]
    subprocess.run(command, check=True, cwd=ROOT)


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", default="trixie", help="Debian's release (trixie)")
    parser.add_argument(
        "--machine", metavar="NAME", help="use a virtual Pi that is there, and leave it there"
    )
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="keep lynis's reports here")
    parser.add_argument(
        "--before", type=Path, metavar="FILE", help="a report kept earlier, instead of an audit"
    )
    parser.add_argument(
        "--playbook", type=Path, default=ROOT / "playbooks/harden.yml", help="what hardens it"
    )
    parser.add_argument("-e", dest="settings", action="append", default=[], metavar="NAME=VALUE")
    return parser.parse_args()


def main() -> int:
    """Audit, harden, audit; return the exit status."""
    arguments = parse_arguments()
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))["reason"]
    name = arguments.machine or NAME
    if not arguments.machine:
        virtual_pi("create", name, "--release", arguments.release, "--start", "--wait")
    try:
        virtual_pi("ssh", name, "--", INSTALL)
        if arguments.before:
            before = parse_report(arguments.before.read_text(encoding="utf-8"))
        else:
            before = audit(name, "before", arguments.keep)
        harden(name, arguments.playbook.resolve(), arguments.settings)
        after = audit(name, "after", arguments.keep)
    finally:
        if not arguments.machine:
            virtual_pi("remove", name)
    text, status = describe(before, after, reasons)
    print(text)
    return status


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd[:6])}...: status {error.returncode}")
