"""Adds up the JUnit files of one test run and ends with its counts on a line of their own."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def main(failed_stage: str, folder: str) -> int:
    """Print `N passed, N failed[, N skipped]`.

    Args:
        failed_stage: "0" where every stage ended well; a stage without a JUnit file (lint) that
            failed counts as one failure.
        folder: where the stages left their JUnit files.

    Returns:
        The exit status: 0 when all is well and something was tested, else 1.
    """
    total = failed = skipped = 0
    for file in sorted(Path(folder).glob("*.xml")):
        for suite in ET.parse(file).getroot().iter("testsuite"):  # noqa: S314 (our own files)
            total += int(suite.get("tests", "0"))
            failed += int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
            skipped += int(suite.get("skipped", "0"))
    passed = total - failed - skipped
    if failed_stage != "0" and failed == 0:
        failed = 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
