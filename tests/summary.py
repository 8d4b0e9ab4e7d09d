"""How a test run ends: what failed, by name, and the counts on a line of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

# Of why a test failed, so many characters.
REASON_LENGTH = 160


@dataclass(frozen=True)
class Result:
    """How one stage ended.

    Attributes:
        name: In words.
        ok: Whether it says that all is well.
        junit: Where it left its tests' results (JUnit); None where it has none.
    """

    name: str
    ok: bool
    junit: Path | None = None


@dataclass
class Counts:
    """The tests of a run.

    Attributes:
        passed: How many passed.
        skipped: How many were skipped.
        failed: Those that failed, by name with the first line of why, and the stages that failed
            without naming a test.
    """

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)


def reason(message: str) -> str:
    """Return the first line of a failure's message, to stand after a test's name.

    Args:
        message: All that pytest kept of it.
    """
    first = message.strip().partition("\n")[0]
    return f": {first[:REASON_LENGTH]}" if first else ""


def count(results: Sequence[Result]) -> Counts:
    """Add up the results of all stages.

    A stage that failed counts once itself where none of its tests did: lint, which has no tests, or
    a playbook that broke off before the tests of its machine.

    Args:
        results: The stages.
    """
    counts = Counts()
    for result in results:
        failed = []
        if result.junit is not None and result.junit.exists():
            for case in ET.parse(result.junit).getroot().iter("testcase"):  # noqa: S314 (our own)
                trouble = case.find("failure")
                if trouble is None:
                    trouble = case.find("error")
                if trouble is not None:
                    name = f"{case.get('classname', '')}::{case.get('name', '')}"
                    failed.append(name + reason(trouble.get("message", "")))
                elif case.find("skipped") is not None:
                    counts.skipped += 1
                else:
                    counts.passed += 1
        if not result.ok and not failed:
            failed.append(f"stage: {result.name}")
        counts.failed += failed
    return counts


def closing(results: Sequence[Result]) -> int:
    """Print what failed and `N passed, N failed[, N skipped]`.

    Args:
        results: The stages.

    Returns:
        The exit status: 0 when all is well and something was tested, else 1.
    """
    counts = count(results)
    for name in counts.failed:
        print(f"failed: {name}")
    skipped = f", {counts.skipped} skipped" if counts.skipped else ""
    print(f"{counts.passed} passed, {len(counts.failed)} failed{skipped}")
    return 0 if not counts.failed and counts.passed else 1
