"""Acting from the page and the API: first what would be done, then, once confirmed, doing it."""

import logging
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gridbase.clock import Clock
from gridbase.errors import UserError
from gridbase.market import plain

from gridbot.config.load import BotConfig, GridConfig
from gridbot.service.access import Asker, RefusedError
from gridbot.service.audit_log import AuditLog
from gridbot.service.by_hand import Action, Plan, carry_out, plan
from gridbot.store import Store

log = logging.getLogger(__name__)

CONFIRM_SECONDS = 60.0
MOST_PROPOSALS = 50
LONGEST_REASON = 200


@dataclass(frozen=True)
class _Proposal:
    digest: str  # of the token that asked
    action: Action
    shown: dict[GridConfig, str]  # for each grid that it is for, what would be done
    reason: str
    until: float


class Acting:
    """Proposals, their confirmations, and the log of both.

    Args:
        config: the bot's.
        clock: time.
        audit: has every action before it is done.
    """

    def __init__(self, config: BotConfig, clock: Clock, audit: AuditLog) -> None:
        self._config = config
        self._clock = clock
        self._audit = audit
        self._proposals: dict[str, _Proposal] = {}

    def propose(self, asker: Asker, content: dict[str, Any]) -> dict[str, Any]:
        """Say what an action would do, and remember it for its confirmation.

        Args:
            asker: who asks.
            content: action, symbol (none: all grids), reason.

        Raises:
            RefusedError: it is no action, or there is nothing to do.
        """
        action, grids, reason = self._read(content)
        plans = self._each(grids, lambda store, one: plan(store, self._config.account, one, action))
        possible = [one for one in plans if one.possible]
        if not possible:
            raise RefusedError(409, "; ".join(f"{one.symbol}: {one.text}" for one in plans))
        shown = {one: told.text for one, told in zip(grids, plans, strict=True) if told.possible}
        now = self._clock.monotonic()
        for key, one in list(self._proposals.items()):  # the oldest first
            if one.until <= now or len(self._proposals) >= MOST_PROPOSALS:
                self._proposals.pop(key, None)
        confirmation = secrets.token_urlsafe(16)
        until = now + CONFIRM_SECONDS
        self._proposals[confirmation] = _Proposal(asker.token.digest, action, shown, reason, until)
        return {
            "action": action,
            "confirmation": confirmation,
            "expires_seconds": int(CONFIRM_SECONDS),
            "would": [_told(one) for one in plans],
        }

    def _read(self, content: dict[str, Any]) -> tuple[Action, tuple[GridConfig, ...], str]:
        known = {"action", "symbol", "reason"}
        if not set(content) <= known:
            raise RefusedError(400, f"known are {', '.join(sorted(known))}")
        try:
            action = Action(str(content.get("action")))
        except ValueError as error:
            raise RefusedError(400, f"action needs one of {', '.join(Action)}") from error
        symbol, reason = content.get("symbol"), content.get("reason", "from the page")
        if not isinstance(reason, str) or not reason.isprintable() or not reason:
            raise RefusedError(400, "reason needs one line of printable characters")
        if len(reason) > LONGEST_REASON:
            raise RefusedError(400, f"reason has more than {LONGEST_REASON} characters")
        grids = tuple(one for one in self._config.grids if symbol in (None, one.symbol))
        if not grids:
            known_symbols = ", ".join(one.symbol for one in self._config.grids)
            raise RefusedError(400, f"symbol needs one of {known_symbols}, or none for all")
        return action, grids, reason

    def _each(
        self, grids: tuple[GridConfig, ...], do: Callable[[Store, GridConfig], Plan]
    ) -> list[Plan]:
        try:
            with closing(Store(self._config.state_directory, beside=True)) as store:
                return [do(store, one) for one in grids]
        except UserError as error:
            raise RefusedError(503, str(error)) from error

    def confirm(self, asker: Asker, content: dict[str, Any]) -> dict[str, Any]:
        """Do what was proposed, once.

        Args:
            asker: who asks: the same token that asked what would be done.
            content: the confirmation.

        Raises:
            RefusedError: there is no such proposal any more, or it cannot be written down.
        """
        confirmation = content.get("confirmation")
        found = self._proposals.pop(confirmation, None) if isinstance(confirmation, str) else None
        late = found is not None and found.until <= self._clock.monotonic()
        if found is None or late or found.digest != asker.token.digest:
            raise RefusedError(
                409, f"no such proposal; it is good once, for {CONFIRM_SECONDS:.0f} seconds"
            )
        try:
            self._note(asker, found, "confirmed")
        except UserError as error:
            raise RefusedError(503, f"nothing is done without its log: {error}") from error
        at_ms = self._clock.now_ms()
        account, action, reason = self._config.account, found.action, found.reason
        told = f"{reason} ({asker.token.name})"
        try:
            done = self._each(
                tuple(found.shown),
                lambda store, one: carry_out(
                    store,
                    account,
                    one,
                    action,
                    reason=told,
                    at_ms=at_ms,
                    shown=found.shown[one],
                ),
            )
        except RefusedError as error:
            self._note_outcome(asker, found, f"failed: {error.detail}")
            raise
        self._note_outcome(asker, found, "; ".join(f"{one.symbol}: {one.text}" for one in done))
        return {"action": action, "done": [_told(one) for one in done]}

    def _note_outcome(self, asker: Asker, proposal: _Proposal, result: str) -> None:
        """Note what came of it; it was done, whether or not the log has room."""
        try:
            self._note(asker, proposal, result)
        except UserError as error:
            log.warning("the audit log lacks what came of %s: %s", proposal.action, error)

    def _note(self, asker: Asker, proposal: _Proposal, result: str) -> None:
        self._audit.write(
            at_ms=self._clock.now_ms(),
            token=asker.token.name,
            address=asker.address,
            action=proposal.action,
            symbols=[one.symbol for one in proposal.shown],
            reason=proposal.reason,
            result=result,
        )


def _told(one: Plan) -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "possible": one.possible,
        "text": one.text,
        "orders": one.orders,
        "base": None if one.base is None else plain(one.base),
    }
