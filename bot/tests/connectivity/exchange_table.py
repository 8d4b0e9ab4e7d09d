"""Which spot exchanges of ccxt offer what the bot needs, as the table in docs/exchanges.md.

Run it to write the table anew:  python bot/tests/connectivity/exchange_table.py
"""

import logging
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "exchanges.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def table() -> str:
    """The table, in Markdown."""
    import ccxt  # all of it
    from gridbot.ccxt_offers import missing

    rows = ["| exchange | what it lacks |", "| --- | --- |"]
    good = []
    for name in ccxt.exchanges:
        client = getattr(ccxt, name)({"apiKey": "key", "secret": "secret"})
        if client.has.get("spot") is not True:
            continue
        lacking = missing(client)
        if lacking:
            rows.append(f"| {name} | {'; '.join(lacking)} |")
        else:
            good.append(name)
    head = f"ccxt {ccxt.__version__}. Nothing is lacking on: **{', '.join(good)}**.\n\n"
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
