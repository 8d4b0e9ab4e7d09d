"""What the demo trades on recorded candles: their symbol, and a grid around their first price.

`python3 -m inventory.demo_market FILE` reads the whole file and prints it in one line, or one line
for what is in the way, with status 2. `inventory/virtual` uses the same settings.
"""

from __future__ import annotations

import os
import re
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bot" / "src"))

from gridbase.candles.price_units import from_units  # noqa: E402 - likewise
from gridbase.candles.reader import open_candles  # noqa: E402 - found by the line above
from gridbase.errors import UserError  # noqa: E402 - likewise
from gridbase.market import plain  # noqa: E402 - likewise
from gridexchange.opening import fitting_rules  # noqa: E402 - likewise

# As the grid of the role's defaults: 42,000 to 50,000 around 46,000, in 40 parts.
LOWER, UPPER = Decimal(42) / 46, Decimal(50) / 46
GRIDS = 40
FEWEST_GRIDS = 2
DEFAULT_SYMBOL = "BTC/USDT"
# Binance's dumps: SOLUSDT-1m-2024-01.zip, and of a day SOLUSDT-1m-2024-01-31.zip.
QUOTES = "USDT|USDC|FDUSD|TUSD|BUSD|DAI|EUR|TRY|BRL|JPY|BTC|ETH|BNB"
DUMP = re.compile(rf"([A-Z0-9]+?)({QUOTES})-[0-9]+[a-z]+-[0-9]{{4}}-[0-9]{{2}}", re.ASCII)


def demo_symbol(file_name: str, wanted: str) -> str:
    """Return the symbol of candles: the wanted one, else that of a dump's name, else BTC/USDT."""
    dump = DUMP.match(file_name)
    return wanted or ("/".join(dump.groups()) if dump else DEFAULT_SYMBOL)


def demo_grid(price: Decimal) -> dict[str, str]:
    """Return the role's settings of a grid around a price (quote).

    Raises:
        UserError: the exchange's smallest step of prices is too coarse for a grid there.
    """
    tick = fitting_rules(price).tick_size
    step = max(tick, Decimal(1).scaleb((price / GRIDS).adjusted()))
    lower, upper = (
        (price * share / step).to_integral_value(ROUND_HALF_EVEN) * step for share in (LOWER, UPPER)
    )
    grids = min(GRIDS, int((upper - lower) / tick))
    if lower <= 0 or grids < FEWEST_GRIDS:
        raise UserError(
            f"the first price is {plain(price)}, where a grid finds no room: exchanges print prices"
            f" in steps of {plain(tick)}; use candles of a coin with a higher price"
        )
    return {
        "grid_bot_lower": plain(lower),
        "grid_bot_upper": plain(upper),
        "grid_bot_grids": str(grids),
    }


def demo_settings(candles: Path, wanted_symbol: str) -> dict[str, str]:
    """Return the role's settings for a file of candles.

    Args:
        candles: The file.
        wanted_symbol: What GRIDBERRY_SYMBOL says; may be empty.

    Raises:
        UserError: The file cannot be read, its first row is wrong, or no grid fits there.
    """
    price = from_units(next(iter(open_candles(candles))).open)
    return {"grid_bot_symbol": demo_symbol(candles.name, wanted_symbol), **demo_grid(price)}


def main() -> int:
    """Read the file that the command line names; returns the exit status."""
    path, wanted = Path(sys.argv[1]), os.environ.get("GRIDBERRY_SYMBOL", "")
    try:
        settings = demo_settings(path, wanted)
        count = sum(1 for _ in open_candles(path))
    except UserError as error:
        print(f"gridberry: GRIDBERRY_CANDLES: {error}", file=sys.stderr)
        return 2
    lower, upper, grids = (settings[f"grid_bot_{key}"] for key in ("lower", "upper", "grids"))
    print(
        f"{count} candles, traded as {settings['grid_bot_symbol']} (GRIDBERRY_SYMBOL changes that):"
        f" {grids} grids from {lower} to {upper}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
