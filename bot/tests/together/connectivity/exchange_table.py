"""Which spot exchanges of ccxt offer what the bot needs, as the table in docs/exchanges.md.

Run it to write the table anew:  python bot/tests/together/connectivity/exchange_table.py
"""

import importlib.util
import logging
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "exchanges.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def names() -> list[str]:
    """All exchanges of ccxt: it has a module for each, and one that is none."""
    spec = importlib.util.find_spec("ccxt")
    modules = Path(spec.submodule_search_locations[0]).glob("[a-z]*.py")
    return sorted(path.stem for path in modules)


def table() -> str:
    """The table, in Markdown."""
    from gridbase.ccxt_package import exchange_class
    from gridbot.exchanges.ccxt.requirements import missing

    rows = ["| exchange | what it lacks |", "| --- | --- |"]
    good = []
    for name in names():
        client = exchange_class(name)({"apiKey": "key", "secret": "secret"})
        if client.has.get("spot") is not True:
            continue
        lacking = missing(client)
        if lacking:
            rows.append(f"| {name} | {'; '.join(lacking)} |")
        else:
            good.append(name)
    head = f"ccxt {version('ccxt')}. Nothing is lacking on: **{', '.join(good)}**.\n\n"
    return head + "\n".join(rows)


def main() -> int:
    """Write the table into the page."""
    logging.disable()
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "bot" / "src"))
    sys.exit(main())
