"""The parts of `./gridberry test --full`: one list; a part takes at most an hour on two cores."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

HOST = ("benchmarks", "inventory", "playbooks", "plugins", "roles", "virtual_pi")
SCENARIO = (*HOST, "molecule")
BOT = ("bot",)
ON_TRIXIE = ("tests/run_scenarios.py", "tests/trixie_machine.py", "tests/trixie_root.py")
DATABASE = ("playbooks", "plugins", "roles", "tests/database", *ON_TRIXIE)
STORIES = 10_000
STORIES_OF_A_PART = 2_500
STOCK_STORIES = 1_000
SEED = "2611"
# Drawn ones, and all on lines that are newer than the move of the bot's modules.
DRAWN = ("--seed", SEED, "--count", "150", "--since", "6880628")
ROLLOUTS = (
    ("good", "crash", "books"),
    ("leak", "breaker", "silent"),
    ("configuration", "processor", "state"),
)
# A package of the bot, in how many parts, and which of its mutants.
MUTANTS = (
    ("core", 3, ()),
    ("policies", 2, ()),
    ("trading", 8, DRAWN),
    ("accounting", 1, DRAWN),
    ("store", 1, DRAWN),
)


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        name: On the command line and in the table.
        what: What it shows, in words.
        command: What runs; its last line is its outcome.
        tests: The paths that it tests: while they are as they were, it need not run again.
    """

    name: str
    what: str
    command: Sequence[str]
    tests: Sequence[str]


def python(*words: str) -> list[str]:
    """Return the command of a Python program of the checkout.

    Args:
        words: Its path or `-m` and its module, and its arguments.
    """
    return [sys.executable, *words]


def cuts(release: str, count: int, *more: str, seed: str = SEED) -> list[str]:
    """Return the command that cuts the power of machines.

    Args:
        release: Debian's release.
        count: How often.
        more: Further arguments.
        seed: Draws the moments.
    """
    words = ("--release", release, "--count", str(count), "--seed", seed, "--no-third")
    return python("-m", "benchmarks.power_cuts", *words, "--from-one-converge", *more)


def cuts_inside(release: str, count: int) -> list[str]:
    """Return the command that cuts the power inside writes of the boot files.

    Args:
        release: Debian's release.
        count: How often.
    """
    lines = [f"# line {number:02}: {'.' * 60}" for number in range(40)]
    variables = {"boot_config_lines": lines, "boot_config_reboot": False}
    inside = ("--inside", "boot_config : Set the kernel")
    run = ("--", "--tags", "boot_config", "-e", json.dumps(variables))
    return cuts(release, count, *inside, *run)


PARTS = (
    Part(
        "host-bookworm",
        "host roles and Docker on bookworm: check, converge, idempotence, tests, undo",
        python("-m", "molecule", "test", "-s", "host"),
        SCENARIO,
    ),
    Part(
        "trixie",
        "the gate's virtual Pi with all its tests, those that take minutes each among them",
        python("-m", "molecule", "test", "-s", "default"),
        (*SCENARIO, *BOT),
    ),
    *(
        Part(
            f"platform-{kind}",
            f"{what} on one virtual Pi: twice, in force, cut off, undone",
            python("-m", "tests.platform_machine", kind),
            (*SCENARIO, *BOT, "tests/platform_machine.py", *more),
        )
        for kind, what, more in (
            ("database", "database, backups, hub, analytics and monitoring", ()),
            ("recorder", "a recorder", ()),
            ("ib", "IB Gateway's stand-in, a bot on a stock, the watcher", ("tests/ib_gateway",)),
        )
    ),
    *(
        Part(
            f"platform-cuts-{half}",
            "5 power cuts of a virtual Pi with the fleet's database: no row lost, none doubled",
            python("-m", "tests.platform_machine", "database", "--cuts", "5"),
            (*SCENARIO, *BOT, "tests/platform_machine.py"),
        )
        for half in (1, 2)
    ),
    Part(
        "fat-cuts",
        "every power cut of a recorded change of the boot files; each outcome boots",
        python("-m", "benchmarks.fat_cuts", "--seed", SEED),
        HOST,
    ),
    Part(
        "cuts-inside-trixie",
        "10 power cuts inside writes of the boot files on trixie",
        cuts_inside("trixie", 10),
        HOST,
    ),
    Part(
        "cuts-inside-bookworm",
        "5 power cuts inside writes of the boot files on bookworm",
        cuts_inside("bookworm", 5),
        HOST,
    ),
    *(
        Part(
            f"cuts-trixie-{half}",
            "5 power cuts in a first converge on trixie",
            cuts("trixie", 5, "--jobs", "2", seed=f"{SEED}{half}"),
            HOST,
        )
        for half in (1, 2)
    ),
    Part(
        "cuts-bookworm",
        "5 power cuts in a first converge on bookworm",
        cuts("bookworm", 5, "--jobs", "2"),
        HOST,
    ),
    *(
        Part(name, what, python("-m", "tests.database", *words), DATABASE)
        for name, what, words in (
            (
                "database",
                "the fleet's database on machines of trixie: promotion, restore, drill, full disk",
                ("dump", "set-up", "promotion", "restore", "full-disk"),
            ),
            *(
                (
                    f"database-kills-{half}",
                    f"the database killed 250 times at random moments, {half} of 2",
                    ("kills", "--kills", "250", "--seed", f"{SEED}{half}"),
                )
                for half in (1, 2)
            ),
        )
    ),
    Part(
        "ib-gateway",
        "IB Gateway's role with stand-ins on machines of trixie: set-up, kills, hangs, logins",
        python("-m", "tests.ib_gateway"),
        (
            *("playbooks", "plugins", "roles", "bot/src/gridexchange", "bot/src/gridbase"),
            *("tests/ib_gateway", *ON_TRIXIE),
        ),
    ),
    Part(
        "https",
        "HTTPS before a page on a machine of trixie: twice, other names, a power cut, undone",
        python("-m", "tests.https.machine"),
        ("plugins", "roles", "tests/https", "tests/trixie_machine.py", "tests/trixie_root.py"),
    ),
    Part(
        "pull",
        "a host that follows a repository over SSH: signed, refused, held, by its timer, cut off",
        python("-m", "tests.pull"),
        ("plugins", "roles", "tests/pull", *ON_TRIXIE),
    ),
    Part(
        "branches",
        "two machines that begin with a snapshot of a third",
        python("-m", "tests.branches"),
        ("virtual_pi", "tests/branches.py"),
    ),
    Part(
        "first-boot",
        "from an image file with cloud-init to the bot's page: prepare, find, new, deploy, open",
        python("-m", "benchmarks.first_boot"),
        (*HOST, *BOT, "fleet", "gridberry"),
    ),
    Part(
        "crash-sweep",
        "a crash at every point at which the bot touches the world",
        python("bot/benchmarks/crash_sweep.py", "--seed", "1"),
        BOT,
    ),
    *(
        Part(
            f"crash-sweep-{world}",
            f"a crash at each fifth point of the world `{world}`",
            python("bot/benchmarks/crash_sweep.py", "--world", world, "--every", "5"),
            BOT,
        )
        for world in ("sinking", "stopping", "moving", "told")
    ),
    *(
        Part(
            f"fault-world-{first}",
            f"stories {first} to {first + STORIES_OF_A_PART - 1} of the fault world",
            python(
                *("bot/benchmarks/fault_world.py", "--from", str(first)),
                *("--seeds", str(STORIES_OF_A_PART)),
            ),
            BOT,
        )
        for first in range(0, STORIES, STORIES_OF_A_PART)
    ),
    Part(
        "crash-sweep-stock",
        "a crash at every point at which a bot on a stock touches the world, 3,000 at least",
        python(
            *("bot/benchmarks/crash_sweep.py", "--world", "stock"),
            *("--seed", "11", "--seconds", "1300"),
        ),
        BOT,
    ),
    *(
        Part(
            f"fault-world-stock-{first}",
            f"stories {first} to {first + STOCK_STORIES - 1} of a grid on a stock",
            python(
                *("bot/benchmarks/fault_world.py", "--stock", "--from", str(first)),
                *("--seeds", str(STOCK_STORIES)),
            ),
            BOT,
        )
        for first in (0, STOCK_STORIES)
    ),
    Part(
        "ib-week",
        "a week of a grid on a stock and the option watcher at one Gateway, on a virtual clock",
        python("bot/benchmarks/ib_week.py"),
        BOT,
    ),
    Part(
        "mutants-listed",
        "mutants that once survived",
        python("bot/benchmarks/mutants.py", "--listed"),
        BOT,
    ),
    *(
        Part(
            f"mutants-{package}-{part}",
            f"mutants of `{package}`{', drawn and changed' * bool(drawn)}: {part} of {parts}",
            python(
                *("bot/benchmarks/mutants.py", "--package", package, *drawn),
                *("--part", f"{part}/{parts}"),
            ),
            BOT,
        )
        for package, parts, drawn in MUTANTS
        for part in range(1, parts + 1)
    ),
    *(
        Part(
            f"recorder-hour-{seed}",
            "an hour of 20 symbols with all faults: what is recorded is what was served",
            python("bot/benchmarks/recorded_hour.py", "--seed", str(seed)),
            BOT,
        )
        for seed in (1, 2)
    ),
    Part(
        "recorder-kills",
        "the recorder killed 300 times at random moments, half of them while it starts",
        python("-m", "tests.recorder_kills"),
        (*BOT, "tests/recorder_kills.py"),
    ),
    Part(
        "recorder-s3",
        "copies in S3, killed 100 times, refused, cut off",
        python("-m", "tests.s3"),
        (*BOT, "tests/s3.py", "tests/s3.lock"),
    ),
    Part(
        "recorder",
        "what recording costs beside cryptofeed and a plain writer of Parquet",
        python("bot/benchmarks/recorder.py", "--cryptofeed"),
        BOT,
    ),
    Part(
        "recorder-week",
        "the recorder's memory over a simulated week of 20 symbols",
        python("bot/benchmarks/recorder_week.py"),
        BOT,
    ),
    Part(
        "live-against-backtest",
        "an hour of a bot, killed, paused and half recorded, beside a backtest: all explained",
        python("bot/benchmarks/live_against_backtest.py", "--minutes", "600", "--speed", "30"),
        BOT,
    ),
    Part(
        "analytics-pool",
        "a search on three workers, some of them killed, finds what one process finds",
        python("bot/benchmarks/analytics_pool.py"),
        BOT,
    ),
    Part(
        "idle",
        "processor time and writes of an idle bot",
        python("bot/benchmarks/idle.py"),
        BOT,
    ),
    Part(
        "page-load",
        "what 100 pages, a scraper and 1,000 hostile connections cost a bot that trades",
        python("bot/benchmarks/page_load.py"),
        BOT,
    ),
    Part(
        "api-cost",
        "processor time and time of each answer of the bot's API",
        python("bot/benchmarks/api_cost.py"),
        BOT,
    ),
    Part(
        "fuzz-api",
        "the API asked everything that its document allows, and more (schemathesis)",
        python("-m", "tests.fuzz_api", "--max-examples", "200"),
        (*BOT, "tests/fuzz_api.py", "tests/fuzz.lock"),
    ),
    Part(
        "scrape",
        "what scraping /metrics costs a bot of 200 lines, and one of four grids",
        python("bot/benchmarks/scrape.py", "--scrapes", "1000"),
        BOT,
    ),
    Part(
        "rest-calls",
        "requests of a bot in calm and busy hours",
        python("bot/benchmarks/rest_calls.py"),
        BOT,
    ),
    Part(
        "made-up-market",
        "the role's grid on 100 seeds of the made-up market, 180 days each: nobody is favored",
        python("bot/benchmarks/made_up_market.py"),
        (*BOT, "inventory/demo_market.py"),
    ),
    *(
        Part(
            f"rollouts-{number}",
            f"rollouts over three virtual Pis, stopped at the canary where bad: {', '.join(names)}",
            python("-m", "benchmarks.rollouts", "--release", *names),
            (*HOST, "fleet", *BOT),
        )
        for number, names in enumerate(ROLLOUTS, 1)
    ),
    Part(
        "fleet-size",
        "checks, look and a rollout of 50, 200 and 500 hosts: the controller's time grows linearly",
        python("-m", "benchmarks.fleet_size"),
        (
            "fleet",
            "playbooks",
            "roles",
            "plugins",
            "ansible.cfg",
            "benchmarks/fleet_size.py",
            "benchmarks/fleet_rollout.py",
        ),
    ),
    Part(
        "fleet-forks",
        "a look at 100 hosts that each take a second, with 10, 25, 50 and 100 at a time",
        python("-m", "benchmarks.fleet_forks"),
        ("playbooks", "roles", "plugins", "ansible.cfg", "benchmarks/fleet_forks.py"),
    ),
    Part(
        "live-month",
        "a month of live prices with cuts, outages, gaps and power cuts: equal books, real fills",
        python("bot/benchmarks/live_month.py"),
        BOT,
    ),
    Part(
        "page-in-chromium",
        "sixteen states of the page, light and dark, wide and narrow, against exchange and books",
        python("-m", "tests.browser"),
        (*BOT, "tests/browser.py", "tests/browser.lock"),
    ),
    Part(
        "first-paint",
        "how soon the page of a bot that trades shows something in Chromium",
        python("-m", "tests.browser", "paint"),
        (*BOT, "tests/browser.py", "tests/browser.lock"),
    ),
    *(
        Part(
            f"monitoring-{name}",
            what,
            python("-m", "benchmarks.monitoring", name),
            ("benchmarks/monitoring", "roles/monitoring"),
        )
        for name, what in (
            ("faults", "twelve faults: each its alert once, and its recovery"),
            ("outage", "the monitoring server off for an hour: no sample is missing"),
            ("load", "memory and queries of the store with 20 Pis"),
        )
    ),
    Part(
        "hub-kills",
        "500 random kills of collector, archiver and database: every trade once",
        python("bot/benchmarks/hub_kills.py", "--kills", "500"),
        (*BOT, "tests/postgres.py", "tests/trixie_root.py"),
    ),
    Part(
        "hub-load",
        "10 million trades: inserts beside pgbench, bytes a row, answers, a month of absence",
        python("bot/benchmarks/hub_load.py", "--fills", "10000000", "--seconds", "60"),
        (*BOT, "tests/postgres.py", "tests/trixie_root.py"),
    ),
    Part(
        "lynis",
        "lynis' index of a hardened host",
        python("tests/lynis_audit.py"),
        HOST,
    ),
)
