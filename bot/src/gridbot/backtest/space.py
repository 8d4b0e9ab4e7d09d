"""The options of `gridbot optimize` that say what is tried."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from decimal import Decimal

from gridbase.errors import UserError

from gridbot.backtest.options import amount, choice, grids, integer, shown
from gridbot.backtest.search import Combination, Space
from gridbot.core.grid import Spacing

DEFAULT_GRIDS = "10:100:10"
DEFAULT_WIDTHS = "5:30:5"
DEFAULT_SAMPLES = 1_000
MOST_TRIALS = 1_000_000
_MOST_VALUES = 10_000
_HUNDRED = Decimal(100)


@dataclass(frozen=True)
class Plan:
    """What a search tries.

    Attributes:
        space: all there is.
        combinations: what is tried of it.
        seed: what a random search draws by; None for a grid search.
    """

    space: Space
    combinations: list[Combination]
    seed: int | None


def add_space_options(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "--grids",
        default=DEFAULT_GRIDS,
        metavar="VALUES",
        help="intervals: a list such as 10,20,50 or FROM:TO[:STEP] (default: %(default)s)",
    )
    parser.add_argument(
        "--width",
        metavar="VALUES",
        help="range to each side of the start price in percent, a list or FROM:TO[:STEP]"
        f" (default: {DEFAULT_WIDTHS})",
    )
    parser.add_argument(
        "--lower", metavar="VALUES", help="prices of the lowest line, instead of --width"
    )
    parser.add_argument(
        "--upper", metavar="VALUES", help="prices of the highest line, instead of --width"
    )
    parser.add_argument(
        "--spacing",
        default="arithmetic,geometric",
        metavar="VALUES",
        help="arithmetic, geometric or both (default: both)",
    )
    parser.add_argument(
        "--search",
        default="grid",
        metavar="grid|random",
        help="try all combinations, or a random sample (default: grid)",
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        help=f"how many a random search tries (default: {DEFAULT_SAMPLES})",
    )
    parser.add_argument("--seed", metavar="N", help="what a random search draws by (default: 1)")


def read_plan(args: argparse.Namespace) -> Plan:
    """What is tried, as the options say.

    Raises:
        UserError: an option is not allowed.
    """
    space = _space(args)
    random = choice("--search", args.search, ("grid", "random")) == "random"
    if not random:
        for name in ("samples", "seed"):
            if getattr(args, name) is not None:
                raise UserError(
                    f"--{name} = {shown(getattr(args, name))} needs --search random: a grid "
                    "search tries everything"
                )
        if len(space) > MOST_TRIALS:
            raise UserError(
                f"these are {len(space):,} combinations, and a grid search tries at most "
                f"{MOST_TRIALS:,}; give fewer values, or use --search random --samples N"
            )
        return Plan(space, [space[number] for number in range(len(space))], None)
    samples = integer("--samples", args.samples or str(DEFAULT_SAMPLES), 1, MOST_TRIALS)
    seed = integer("--seed", args.seed or "1", 0, 10**12 - 1)
    return Plan(space, space.sample(samples, seed), seed)


def _space(args: argparse.Namespace) -> Space:
    spacings = tuple(
        dict.fromkeys(
            Spacing(choice("--spacing", word.strip(), Spacing)) for word in args.spacing.split(",")
        )
    )
    counts = tuple(grids("--grids", f"{value:f}") for value in values("--grids", args.grids))
    if args.lower is None and args.upper is None:
        widths = values("--width", args.width or DEFAULT_WIDTHS)
        for width in widths:
            if width >= _HUNDRED:
                raise UserError(f"--width = {width:f} needs percents below 100")
        return Space(counts, spacings, widths=widths)
    if args.width is not None or args.lower is None or args.upper is None:
        raise UserError("the range is either --width, or both --lower and --upper")
    lowers, uppers = values("--lower", args.lower), values("--upper", args.upper)
    if min(lowers) >= max(uppers):
        raise UserError(f"--lower = {shown(args.lower)} must be below --upper = {args.upper}")
    return Space(counts, spacings, lowers=lowers, uppers=uppers)


def values(option: str, text: str) -> tuple[Decimal, ...]:
    """Amounts as `10,20,50` or as `FROM:TO[:STEP]`, both ends included; the step is 1 by default.

    Raises:
        UserError: `text` is neither, or too many.
    """
    bounds = text.split(":")
    if len(bounds) == 1:
        return tuple(dict.fromkeys(amount(option, part.strip()) for part in text.split(",")))
    if len(bounds) > 3:
        raise UserError(f"{option} = {shown(text)} needs a list or FROM:TO[:STEP]")
    low, high, *rest = (amount(option, part.strip()) for part in bounds)
    step = rest[0] if rest else Decimal(1)
    if low > high:
        raise UserError(f"{option} = {shown(text)} needs FROM to be at most TO")
    count = int((high - low) / step) + 1
    if count > _MOST_VALUES:
        raise UserError(f"{option} = {shown(text)} makes {count:,} values, above {_MOST_VALUES:,}")
    return tuple(low + step * number for number in range(count))
