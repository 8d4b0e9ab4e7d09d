"""What the API key may do beyond trading: a bot's key must not be able to withdraw."""

import logging

from gridbase.errors import UserError

from gridbot.exchanges.access.request_gate import AnsweredError
from gridbot.exchanges.binance.answers import Json
from gridbot.exchanges.binance.connection import BinanceConnection, Operation

log = logging.getLogger(__name__)

_RESTRICTIONS = Operation("apiRestrictions", "sapiGetAccountApiRestrictions")
_MISSING = 404


def refuse_withdrawals(account: BinanceConnection) -> None:
    """Refuse a key that may withdraw; asked once an account, and only where money is real.

    Args:
        account: whose key.

    Raises:
        UserError: it may withdraw.
        BrokerError: see `Failure`.
    """
    if account.key_checked or account.config.mode != "live":
        return
    try:
        may_withdraw = account.ask(_RESTRICTIONS, {}, _read)
    except AnsweredError as error:
        if error.status != _MISSING:
            raise
        log.warning("%s does not say whether the API key may withdraw", account.address)
        may_withdraw = False
    if may_withdraw:
        raise UserError(
            f"exchange.api_key_file = {account.config.exchange.api_key_file}: this API key may "
            "withdraw (enableWithdrawals = true); make a key that cannot withdraw, and use that"
        )
    account.key_checked = True


def _read(document: Json) -> bool:
    allowed = document["enableWithdrawals"]
    if not isinstance(allowed, bool):
        raise TypeError("enableWithdrawals is neither true nor false")
    return allowed
