"""Makes the README's pictures from a running demo.

    python docs/pictures/make.py STATUS.json PAGE_URL

STATUS.json is what `./gridberry status --json` prints; PAGE_URL the page of one bot. Needs
Debian's package chromium. Writes status.svg and page.png beside this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "roles" / "status" / "filter_plugins"))

from status_table import status_table  # noqa: E402 (found through the line above)

CHARACTER_WIDTH, LINE_HEIGHT, MARGIN = 7.25, 20, 18


def terminal_svg(command: str, text: str) -> str:
    """A terminal's window with a command and what it printed, as an SVG of its own."""
    lines = [f"$ {command}", *text.splitlines()]
    width = max(map(len, lines)) * CHARACTER_WIDTH + 2 * MARGIN
    height = len(lines) * LINE_HEIGHT + 2 * MARGIN
    colours = ["#7ee2a8", "#8b949e", *["#e6edf3"] * len(lines)]
    rows = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + (n + 0.7) * LINE_HEIGHT:.0f}" fill="{colour}">'
        f"{escape(line)}</text>"
        for n, (line, colour) in enumerate(zip(lines, colours, strict=False))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
        ' font-family="ui-monospace, Menlo, DejaVu Sans Mono, monospace" font-size="12"'
        ' xml:space="preserve">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n{rows}\n</svg>\n'
    )


def screenshot(url: str, target: Path) -> None:
    """The page as headless Chromium shows it, once its first data is there."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", f"--user-data-dir={profile}", "--window-size=1100,900",
                "--virtual-time-budget=8000", f"--screenshot={target}", url,
            ],
            check=True,
        )  # fmt: skip


def main() -> None:
    """Make both pictures."""
    hosts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    picture = terminal_svg("./gridberry status", status_table(hosts))
    (HERE / "status.svg").write_text(picture, encoding="utf-8")
    screenshot(sys.argv[2], HERE / "page.png")


if __name__ == "__main__":
    main()
