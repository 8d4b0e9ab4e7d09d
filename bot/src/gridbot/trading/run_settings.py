"""The settings that a running grid depends on, and whether the file still says the same."""

from gridbase.errors import UserError, of_grid
from gridbase.market import plain

from gridbot.config.load import AccountConfig, BotConfig, GridConfig
from gridbot.store import GridRun, Store

# What a grid's orders and coins are found by: elsewhere there is nothing of it.
WHERE = ("mode", "bot_name", "exchange.name", "market.symbol")


def settings_of(account: AccountConfig, config: GridConfig) -> dict[str, str]:
    """What a running grid depends on: a change of any needs a new grid."""
    grid = config.grid
    settings = {
        "mode": account.mode,
        "bot_name": account.bot_name,
        "exchange.name": account.exchange.name,
        "market.symbol": config.symbol,
        "grid.grids": str(grid.grids),
        "grid.spacing": str(grid.spacing),
    }
    amounts = {
        "grid.lower": grid.lower,
        "grid.upper": grid.upper,
        "grid.investment": grid.investment,
        "grid.quantity": grid.quantity,
    }
    settings |= {key: plain(amount) for key, amount in amounts.items() if amount is not None}
    if grid.atr is not None:
        settings |= {
            "grid.range": "atr",
            "grid.atr_interval": grid.atr.interval,
            "grid.atr_period": str(grid.atr.period),
            "grid.atr_multiple": plain(grid.atr.multiple),
        }
    return settings


def check_settings(
    account: AccountConfig, config: GridConfig, grid_run: GridRun, *, to_end: bool = False
) -> None:
    """Refuse a configuration that is not the running grid's.

    Args:
        account: whose account.
        config: of the grid.
        grid_run: the running grid.
        to_end: it is only to be ended: its lines may be other ones.

    Raises:
        UserError: names the first setting that differs and what is allowed.
    """
    now = settings_of(account, config)
    for key in [*now, *(key for key in grid_run.settings if key not in now)]:
        value, before = now.get(key, "not set"), grid_run.settings.get(key, "not set")
        where = key in WHERE  # asked for also where it is only to be ended
        if before != value and (where or not to_end):
            end = f", or end that grid with: gridbot close --config {account.path}"
            raise UserError(
                f"{key} = {value} differs from {before}, with which the running grid was started: "
                f"set it back{'' if where else end}"
            )


def check_running(config: BotConfig, store: Store) -> None:
    """Refuse a configuration that would not go on with the grids that run.

    Raises:
        UserError: a running grid is left out, or its settings differ.
    """
    configured = {one.symbol: one for one in config.grids}
    for grid_run in store.grid_runs():
        if grid_run.closed_ms is not None:
            continue
        if grid_run.symbol not in configured:
            raise UserError(
                f"market.symbol: the running grid of {grid_run.symbol} is left out: add it "
                "again, or end it first, with the configuration that has it: gridbot close"
            )
        with of_grid(grid_run.symbol):
            check_settings(config.account, configured[grid_run.symbol], grid_run)
