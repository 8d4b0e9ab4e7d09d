"""What a configuration switches on beside the plain grid, in words. Pure."""

from gridbase.market import plain

from gridbot.config.load import GridConfig


def policy_lines(config: GridConfig) -> list[str]:
    """What is switched on beside the plain grid, one line each, for people."""
    grid, trend, volatility = config.grid, config.trend, config.volatility
    lines = []
    if grid.atr is not None:
        atr = grid.atr
        lines.append(f"range: {plain(atr.multiple)} x ATR({atr.period}) of {atr.interval} candles")
    if grid.post_only:
        lines.append("post-only: orders never take")
    if trend.enabled:
        average = trend.average.upper()
        lines.append(
            f"buys pause while ADX({trend.adx_period}) of {trend.interval} is above "
            f"{plain(trend.adx_above)} with {average} {trend.fast} below {average} {trend.slow}"
        )
    if volatility.enabled:
        lines.append(
            f"buys pause while ATR({volatility.atr_period}) of {volatility.interval} is above "
            f"{plain(volatility.atr_above_percent)} % of the price"
        )
    move = config.reposition
    if move.direction != "off":
        at = "at support and resistance" if move.at == "levels" else "around the price"
        lines.append(
            f"the range follows {move.direction}, {at}, {plain(move.margin_percent)} % outside, "
            f"at most every {move.cooldown_minutes} minutes"
        )
    return lines + _stops(config)


def _stops(config: GridConfig) -> list[str]:
    stop = config.stop
    rules = {
        "price at or below": (stop.loss_price, config.quote),
        "price at or above": (stop.profit_price, config.quote),
        "drawdown of": (stop.max_drawdown_percent, "%"),
        "loss in a day of": (stop.daily_loss_percent, "%"),
        "profit of": (stop.profit_percent, "%"),
    }
    then = "sells the base held" if stop.liquidate else "keeps the base held"
    return [
        f"stops at a {rule} {plain(limit)} {unit}, {then}"
        for rule, (limit, unit) in rules.items()
        if limit is not None
    ]
