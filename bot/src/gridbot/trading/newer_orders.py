"""Orders that the exchange has and older books have not: taken over before anything is sent.

Books that were restored end before the exchange's do. An order is named by its place and a running
number, so the same trades are answered under the same names again. An exchange may take such a
name once more when its first order is closed: sent unasked, each answer would be there twice.

Books that nobody restored have each order before the exchange does. What these lack is another
bot's.
"""

import logging
from contextlib import suppress

from gridbase.errors import MismatchError

from gridbot.core.engine import GridEngine
from gridbot.core.orders import OrderState, client_prefix
from gridbot.store import restored
from gridbot.trading.session import Session
from gridbot.trading.submission import accept

log = logging.getLogger(__name__)


def find_newer(session: Session) -> None:
    """Ask once for orders of the grid, and of later ones, that are not in the books.

    Raises:
        BrokerError: the exchange failed.
        MismatchError: there are some, and the books were not restored.
    """
    grid_run = session.grid_run
    if session.compared or session.newer is not None or grid_run is None:
        return
    prefix = client_prefix(session.account.bot_name, session.config.base + session.config.quote)
    # Not since the newest: after a cut, some of what they lacked has been taken over already.
    known = [order.exchange_id for order in session.store.orders(grid_run.id)]
    accepted = [identity for identity in known if identity is not None]
    newer = {
        order.client_id: order
        for order in session.broker.orders_since(accepted)
        if order.client_id.startswith(prefix)
        and order.client_id.removeprefix(prefix).partition("-")[0] >= grid_run.tag
        and not session.store.knows(order.client_id)
    }
    if newer and not restored(session.store.directory, grid_run.id).exists():
        raise MismatchError(
            f"the exchange has {len(newer)} orders of bot_name = {session.account.bot_name} from "
            f"after these books ({min(newer)}, ...), which were not restored: another bot has them "
            "now. Fence this one, or restore a backup here and it takes them over "
            "(docs/backups.md)"
        )
    session.newer = newer
    if newer:
        log.warning(
            "%s: the exchange has %d orders that are newer than these books; they are taken over",
            grid_run.symbol,
            len(newer),
        )


def agree(session: Session) -> None:
    """Note that the books hold what the exchange has: what they lack from now on is not theirs."""
    session.compared = True
    if session.grid_run is not None:
        with suppress(OSError):  # a disk that is read-only now: the next start asks again
            restored(session.store.directory, session.grid_run.id).unlink(missing_ok=True)


def take_over(session: Session, engine: GridEngine) -> bool:
    """Take the exchange's orders for intents that have their names; whether there was one.

    Raises:
        MismatchError: what the exchange has under a name is another order.
    """
    newer, took = session.newer or {}, False
    for order in list(engine.live.values()):
        if order.state is OrderState.INTENDED and order.client_id in newer:
            accept(session, engine, order, newer[order.client_id])
            del newer[order.client_id]
            took = True
    return took


def refuse_rest(session: Session) -> None:
    """Stop at newer orders that nothing in the books leads to.

    Raises:
        MismatchError: there is one; the exchange is asked again the next time.
    """
    rest = session.newer or {}
    if not rest:
        return
    session.newer = None
    raise MismatchError(
        f"the exchange has {len(rest)} orders of bot_name = {session.account.bot_name} from after "
        f"these books ({min(rest)}, ...), which they do not lead to: the books are a copy from "
        "before the grid moved, ended or began anew; restore a newer one, or end that grid by hand "
        "(docs/backups.md)"
    )
