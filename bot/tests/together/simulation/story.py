"""One seed, one story: a random market and grid, faults all the way, deaths and restarts.

In the end nothing goes wrong any more, the bot catches up, and everything must add up.
"""

from pathlib import Path
from random import Random

from gridbot.store import Store

from .boundaries import Boundaries, watched
from .chance import dice
from .invariants import problems
from .judge import FIRES, SILENT, WELL
from .markets import KINDS, crash, market
from .person import CANCEL, FLATTEN, PAUSE, RESUME, SELL
from .start_purchase import SETTING
from .sweep import DOWN_SECONDS, SETTLE_SECONDS, memory_directory, remove
from .workers import Report
from .world import Setup, World

MOST_KILLS = 4
STOP_SHARE = 0.3  # of the lives, those that end in an orderly way before they are killed


def setup_of(seed: int) -> tuple[Setup, float]:
    """The world of one seed, and how long it lasts before all is calm (world seconds)."""
    pick = dice("story", seed)
    grids = pick.randint(4, 12)
    half = pick.choice((1_500, 2_500, 4_000))
    kind = pick.choice(KINDS)
    reach = half * 3 // grids
    fee_in = pick.choice(("received", "received", "quote"))
    rate = pick.choice(("0.001", "0.00075", "0"))
    setup = Setup(
        candles=market(kind, 400, pick, reach=reach),
        grid={
            "lower": str(50_000 - half),
            "upper": str(50_000 + half),
            "grids": grids,
            "spacing": pick.choice(("arithmetic", "geometric")),
            "investment": pick.choice(("9000", "2500", "700")),
            "post_only": pick.random() < 0.2,
        },
        fees={"rate": rate, "in": fee_in},
        exchange={
            "speed": pick.choice(("60", "200", "400")),
            "fee_rate": rate,
            "fee_in": fee_in,
            "lot_size": pick.choice(("0.00001", "0.00001", "0.00000001")),
            "balances": {"USDT": "10000", "BTC": pick.choice(("0", "0.5"))},
        },
        seed=seed,
        streams=pick.random() < 0.75,
        fault_rate=pick.choice((0.03, 0.08, 0.2)),
        world_seconds=pick.choice((6.0, 20.0)),
    )
    pay_in_bnb(setup, dice("bnb", seed))
    seconds = pick.uniform(50.0, 100.0) + extra_seconds(setup, pick)
    if "stop" in setup.more:
        stop_at_price(setup, dice("stop", seed))
    begin_at_an_end(setup, dice("outside", seed))
    setup.person += words_of(dice("person", seed), seconds)
    setup.judge += judgments_of(dice("judge", seed), seconds)
    return setup, seconds


def words_of(pick: Random, seconds: float) -> list[tuple[float, tuple[str, ...]]]:
    """In some worlds a person says something, at moments within so many world seconds."""
    if pick.random() < 0.7:
        return []
    at = sorted(pick.uniform(5.0, seconds) for _ in range(pick.randint(1, 6)))
    words = (PAUSE, PAUSE, CANCEL, RESUME, RESUME, FLATTEN, SELL)
    return [(moment, pick.choice(words)) for moment in at]


def judgments_of(pick: Random, seconds: float) -> list[tuple[float, str]]:
    """Some worlds have a judge of the account, which falls silent now and then, or fires."""
    if pick.random() < 0.75:
        return []
    at = sorted(pick.uniform(5.0, seconds) for _ in range(pick.randint(1, 5)))
    return [(moment, pick.choice((WELL, SILENT, SILENT, FIRES))) for moment in at]


def begin_at_an_end(setup: Setup, pick: Random) -> None:
    """Some worlds begin close to an end of the range, on either side of it, and are refused there.

    In half of these the user has confirmed nothing, in the others a purchase of some size.
    """
    if pick.random() < 0.7 or {"reposition", "stop"} & set(setup.more):
        return
    lower, upper = (int(str(setup.grid[name])) for name in ("lower", "upper"))
    shift = pick.choice((-1, 1)) * ((upper - lower) // 2 + pick.randint(-400, 200))
    setup.grid |= {"lower": str(lower + shift), "upper": str(upper + shift)}
    setup.grid[SETTING] = pick.choice((None, None, "500", "10000"))
    # The first orders are refused: meanwhile the price may leave the range.
    refused = {"kind": "reject", "method": "POST", "path": "order", "at_s": 0}
    setup.script.append(refused | {"count": pick.randint(1, 4)})


def pay_in_bnb(setup: Setup, pick: Random) -> None:
    """In some worlds the account pays its fees in BNB, while it has any."""
    if setup.exchange["fee_in"] == "received" and pick.random() < 0.3:
        balances = setup.exchange["balances"] | {"BNB": pick.choice(("0.003", "1"))}
        setup.exchange |= {"fee_in": "bnb", "balances": balances}


def extra_seconds(setup: Setup, pick: Random) -> float:
    """Some worlds have a range that follows the price, kill switches or filters.

    Returns:
        How much longer they last (world seconds).
    """
    feature = pick.random()
    if feature < 0.15:
        setup.more["reposition"] = {
            "direction": pick.choice(("both", "both", "up", "down")),
            "cooldown_minutes": pick.choice((0, 1)),
        }
        # Long enough outside the range for the bot to believe it.
        setup.exchange["speed"] = "20"
        setup.candles[:] = market("trend", 200, pick, reach=1_500)
        return 150.0
    if feature < 0.3:
        setup.more["stop"] = {
            pick.choice(("max_drawdown_percent", "daily_loss_percent")): pick.choice(("0.5", "2")),
            "liquidate": pick.random() < 0.6,
        }
        return 50.0
    if feature < 0.4:
        setup.more["volatility"] = {
            "enabled": True,
            "interval": "1m",
            "atr_period": 5,
            "atr_above_percent": pick.choice(("1", "2")),
        }
    if feature > 0.9:
        setup.more["trend"] = {
            "enabled": True,
            "interval": "1m",
            "adx_period": 5,
            "fast": 5,
            "slow": 10,
        }
    return 0.0


def stop_at_price(setup: Setup, pick: Random) -> None:
    """Half of the worlds that have a kill switch have a stop price, and a market that crosses it.

    In some of these the exchange takes no orders for a while, or tells of none.
    """
    if pick.random() < 0.5:
        return
    lower, upper = (int(str(setup.grid[name])) for name in ("lower", "upper"))
    stop = lower - pick.choice((1, 100, 600))
    rules = {"loss_price": str(stop), "liquidate": pick.random() < 0.6}
    setup.more["stop"] = rules if pick.random() < 0.7 else setup.more["stop"] | rules
    setup.candles[:] = crash(pick, lower, upper, stop)
    setup.exchange["speed"] = pick.choice(("20", "60", "60"))
    refused = {"kind": "error_before", "method": "POST", "path": "order"}
    silent = {"kind": "lost_event", "event": "executionReport"}
    for trouble, most in ((refused, 40), (silent, 40)):
        if pick.random() < 0.4:
            times = {"at_s": pick.uniform(5.0, 80.0), "count": pick.randint(1, most)}
            setup.script.append(trouble | times)


def grids_of(world: World) -> int:
    """How many grids there were, one after the other."""
    reader = Store(world.state, read_only=True)
    count = len(list(reader.grid_runs()))
    reader.close()
    return count


class Story:
    """Tells one seed's story; see the module's text. Ends its process by the report.

    Args:
        seed: of everything.
        report: takes the result.
        trace: for people.
    """

    def __init__(self, seed: int, report: Report, trace=None) -> None:
        self.seed = seed
        self.kills = self.stops = 0
        self._report = report
        self._trace = trace
        self._dice = dice("deaths", seed)
        self._boundaries = Boundaries()
        self._calm = False
        self._kill_at = 0

    def tell(self) -> None:
        with memory_directory() as directory:
            self._directory = directory
            with watched(self._boundaries, directory / "bot", directory / "exchange"):
                self._world, seconds = self.begin(directory)
                self._boundaries.hook = self._at
                self._world.time.after(seconds, self._make_calm)
                self._draw_kill()
                self._live()

    def begin(self, directory: Path) -> tuple[World, float]:
        """The world, and how long it lasts before all is calm (world seconds)."""
        setup, seconds = setup_of(self.seed)
        return World(directory, setup, self._boundaries, self._trace), seconds

    def outcome(self, world: World) -> dict[str, object]:
        """What is wrong in the end, and what else this kind of world tells."""
        return {"problems": problems(world), "judged": world.judge.fired}

    def _make_calm(self) -> None:
        self._world.calm()
        self._calm = True

    def _draw_kill(self) -> None:
        ahead = 1 + int(self._dice.expovariate(1 / 60))
        self._kill_at = self._boundaries.count + ahead

    def _at(self, number: int, kind: str) -> None:
        if number != self._kill_at or self._calm or self.kills >= MOST_KILLS:
            return
        self.kills += 1
        world = self._world
        world.note(f"kill at {number} {kind}")
        world.cut()
        if self._dice.random() < 0.7:
            world.deliver_late(kind, self._dice.uniform(0.0, 5.5))
        world.time.sleep(self._dice.choice(DOWN_SECONDS))
        self._draw_kill()
        self._live()  # and never back to what was running

    def _live(self) -> None:
        world = self._world
        while not self._calm and self._dice.random() < STOP_SHARE:
            self.stops += 1
            world.start_bot()
            world.live(self._dice.uniform(0.0, 20.0))
            world.time.sleep(self._dice.choice(DOWN_SECONDS))
        world.start_bot()
        world.live(SETTLE_SECONDS, until=lambda: self._calm and world.settled)
        self._end()

    def _end(self) -> None:
        world = self._world
        result = {
            **self.outcome(world),
            "fills": world.engine.next_trade_id - 1,
            "kills": self.kills,
            "stops": self.stops,
            "boundaries": self._boundaries.count,
            "grids": grids_of(world),
            "halted": int(world.trader is not None and world.trader.halt is not None),
            "faults": dict(world.fault_counts),
            "seconds": world.time.seconds,
        }
        remove(self._directory)
        self._report(result)
