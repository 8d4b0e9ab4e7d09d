"""What a look at a bot says about a release: whether it may begin, and what has come of it. Pure.

Profit is no part of it: it says more about the market than about the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
LOOKS, BAD_LOOKS = 5, 3
REFUSAL_POINTS = 5  # percent of orders by which refusals may grow
SLOWER_TIMES, SLOWER_MS = 2, 100  # acknowledgements: both must be exceeded
MEMORY_PERCENT, MEMORY_GROWTH_PERCENT = 90, 150  # of the limit; of what was used before
BACKUP_HOURS = 26
NOT_RUNNING = {"absent", "created", "dead", "exited", "paused", "removing", "restarting"}
NOT_READ = {"silent", "unknown"}


@dataclass(frozen=True)
class Look:
    """One host at one moment.

    Attributes:
        host: Its name.
        at: When, by the host's clock (Unix seconds).
        trouble: Why it could not be asked; empty where it was.
        state: Of the bot, as `status` has it.
        health: Of its container, as Docker has it.
        restarts: Of its container.
        memory, memory_limit: Of its container (bytes); None where unknown.
        reconnects: How often the account's stream was lost since the bot's start.
        circuit: The circuit breaker's state.
        unsettled: Orders without an answer.
        halted: What kill switches say that have fired.
        acknowledged, refused, doubled: Answers to orders since the bot's start.
        milliseconds: Median time of an acknowledgement; None without one.
        equal: Whether the audit found books and exchange equal; None where it could not ask.
        comparable: Whether the exchange tells enough for an audit on every day.
        releases: Of the host, oldest first: number, result, pauses.
        backup: Result of the last one; None without.
    """

    host: str
    at: int = 0
    trouble: str = ""
    state: str = ""
    health: str = ""
    restarts: int = 0
    memory: int | None = None
    memory_limit: int | None = None
    reconnects: int = 0
    circuit: str = ""
    unsettled: int = 0
    halted: list[str] = field(default_factory=list)
    acknowledged: int = 0
    refused: int = 0
    doubled: int = 0
    milliseconds: int | None = None
    equal: bool | None = None
    comparable: bool = True
    releases: list[dict[str, Any]] = field(default_factory=list)
    backup: dict[str, Any] | None = None

    @property
    def newest(self) -> int:
        """The number of the newest release; 0 for none."""
        return int(self.releases[-1]["number"]) if self.releases else 0

    @property
    def result(self) -> str:
        """The newest release's result; empty without one."""
        return str(self.releases[-1]["result"]) if self.releases else ""

    def document(self) -> dict[str, Any]:
        """As the rollout's state keeps it."""
        return asdict(self)


def look_of(status: Mapping[str, Any], more: Mapping[str, Any]) -> Look:
    """Return a look.

    Args:
        status: The host's object of `playbooks/status.yml`.
        more: What `roles/grid_bot/files/look.sh` said; empty where it said nothing.
    """
    host = str(status["host"])
    if status.get("error") or not more:
        return Look(host, trouble=str(status.get("error") or "it did not say what it has"))
    bot, audit = status["bot"], more["audit"]
    answers = bot.get("answers") or {}
    return Look(
        host=host,
        at=more["now"],
        state=bot["state"],
        health=bot.get("health") or "",
        restarts=bot.get("restarts") or 0,
        memory=bot.get("memory_used_bytes"),
        memory_limit=bot.get("memory_limit_bytes"),
        reconnects=bot.get("reconnects") or 0,
        circuit=bot.get("circuit") or "",
        unsettled=bot.get("unsettled") or 0,
        halted=[
            str(one.get("reason")) for one in bot.get("grids") or [] if one["state"] == "halted"
        ],
        acknowledged=answers.get("acknowledged", 0),
        refused=answers.get("refused", 0),
        doubled=answers.get("doubled", 0),
        milliseconds=answers.get("milliseconds"),
        equal=None if audit is None else bool(audit["equal"]),
        comparable=more.get("comparable", True),
        releases=[
            {key: one.get(key) for key in ("number", "result", "pauses")}
            for one in sorted(more["releases"], key=lambda one: int(one["number"]))
        ],
        backup=more["backup"],
    )


def not_ready(look: Look) -> list[str]:
    """Return why a host may not be touched now; empty where it may."""
    if look.trouble:
        return [f"cannot be asked: {look.trouble}"]
    if look.state == "absent":
        return []  # a new host
    problems = []
    if look.state in NOT_RUNNING | NOT_READ or look.health not in ("healthy", ""):
        problems.append(f"its bot is {look.state}, its container {look.health or 'unchecked'}")
    if look.halted:
        problems.append(f"a kill switch has fired: {'; '.join(look.halted)}")
    if look.unsettled:
        problems.append(f"{look.unsettled} orders have no answer yet")
    if look.circuit not in ("closed", ""):
        problems.append(f"the circuit breaker is {look.circuit}")
    if look.equal is False or (look.equal is None and look.comparable):
        said = "differ: see audit" if look.equal is False else "could not be compared"
        problems.append(f"books and exchange {said}")
    if look.result != "good":
        said = f"release {look.newest} is {look.result}" if look.newest else "none is recorded"
        problems.append(f"there is no good release to go back to ({said}): deploy it first")
    backup = look.backup
    if backup and not backup.get("ok"):
        problems.append("its last backup failed")
    elif backup and look.at - int(backup["time"]) > BACKUP_HOURS * 3600:
        hours = (look.at - int(backup["time"])) // 3600
        problems.append(f"its last backup is {hours} hours old, more than {BACKUP_HOURS}")
    return problems


def notes(look: Look) -> list[str]:
    """Return what should be known of a host before it is touched."""
    said = [] if look.backup else ["it has no backup yet"]
    if look.equal is None and not look.comparable:
        said.append("its books were not compared: Interactive Brokers tells today's trades alone")
    return said + (["it has no bot yet"] if look.state == "absent" else [])


def at_once(previous: Look | None, look: Look) -> list[str]:
    """Return what makes a release fail at the first look that shows it.

    Args:
        previous: The look before, after the release; None where this is the first.
        look: This one.
    """
    if look.trouble:
        return []  # of the host, nothing is known of its bot
    found = []
    if look.result.startswith("failed"):
        found.append(f"its release {look.newest} {look.result}")
    if look.state in NOT_RUNNING:
        found.append(f"the bot crashed: its container is {look.state}")
    if look.state in NOT_READ:
        found.append("the bot's state cannot be read")
    if look.health == "unhealthy":
        found.append("the container is unhealthy")
    if look.equal is False:
        found.append("the audit found a difference")
    if look.unsettled and previous is not None and previous.unsettled:
        found.append(f"{look.unsettled} orders are unknown: no answer since the look before")
    if look.doubled:
        found.append("a client order ID is doubled")
    return found


def grown(previous: Look | None, look: Look, name: str) -> int:
    """Return by how much a counter grew since the look before; it begins anew with its process."""
    now: int = getattr(look, name)
    then: int = getattr(previous, name) if previous is not None else 0
    return now - then if now >= then else now


def refusal_percent(refused: int, acknowledged: int) -> float:
    """Return the share of orders that were refused."""
    return 100 * refused / (refused + acknowledged) if refused else 0.0


def signals(before: Look, previous: Look | None, look: Look) -> set[str]:
    """Return what is worse in one look than before the release; it may be chance.

    Args:
        before: The host before the release.
        previous: The look before this one, after the release; None where this is the first.
        look: This one.
    """
    if look.trouble:
        return set()
    usual = refusal_percent(before.refused, before.acknowledged)
    refused = [grown(previous, look, name) for name in ("refused", "acknowledged")]
    found = {
        "refusals": refusal_percent(*refused) > usual + REFUSAL_POINTS,
        "circuit breaker": look.circuit not in ("closed", ""),
        "reconnects": grown(previous, look, "reconnects") > 0,
        "restarts": grown(previous, look, "restarts") > 0,
    }
    # A look with no new answer would judge those of the look before once more.
    answered = grown(previous, look, "acknowledged") > 0
    if answered and look.milliseconds is not None and before.milliseconds is not None:
        most = max(before.milliseconds * SLOWER_TIMES, before.milliseconds + SLOWER_MS)
        found["acknowledgement time"] = look.milliseconds > most
    if look.memory is not None:
        limit = (look.memory_limit or 0) * MEMORY_PERCENT // 100
        usual_memory = (before.memory or 0) * MEMORY_GROWTH_PERCENT // 100
        found["memory"] = bool(
            (limit and look.memory > limit) or (usual_memory and look.memory > usual_memory)
        )
    return {name for name, bad in found.items() if bad}


@dataclass(frozen=True)
class Needs:
    """What a release must have shown before it counts as good.

    Attributes:
        seconds: How long it must have run.
        acknowledgements: How many orders the exchange must have taken from it.
    """

    seconds: int
    acknowledgements: int


def judge(before: Look, looks: Sequence[Look], needs: Needs) -> tuple[str, list[str]]:
    """Return the verdict on one host, and its reasons: what is wrong, or what is missing.

    Args:
        before: The host before the release.
        looks: Those after it, the first of them right after the start.
        needs: What it must have shown.
    """
    earlier = [None, *looks[:-1]]
    pairs = list(zip(earlier, looks, strict=True))
    wrong = [reason for pair in pairs for reason in at_once(*pair)]
    if wrong:
        return FAILED, list(dict.fromkeys(wrong))
    latest = [signals(before, previous, look) for previous, look in pairs][-LOOKS:]
    for name in sorted(set().union(*latest)):
        count = sum(name in one for one in latest)
        if count >= BAD_LOOKS:
            wrong.append(f"{name}: worse than before in {count} of {len(latest)} looks")
    if wrong:
        return FAILED, wrong
    missing = [
        f"{look.host} cannot be asked: {look.trouble}" for look in looks[-1:] if look.trouble
    ]
    if looks and looks[-1].releases and looks[-1].result != "good":
        missing.append(f"release {looks[-1].newest} is {looks[-1].result}")
    asked = [look for look in looks if not look.trouble]
    seconds = asked[-1].at - asked[0].at if asked else 0
    answers = sum(grown(*pair, "acknowledged") for pair in pairs if not pair[1].trouble)
    for have, want, what in (
        (len(asked), LOOKS, "looks"),
        (seconds, needs.seconds, "seconds"),
        (answers, needs.acknowledgements, "acknowledged orders"),
    ):
        if have < want:
            missing.append(f"{have} of {want} {what}")
    return (INCONCLUSIVE if missing else PASSED), missing
