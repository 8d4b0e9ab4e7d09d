"""One API request: its parameters, read one by one and checked as Binance checks them."""

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from urllib.parse import parse_qsl

from gridexchange.errors import (
    ApiError,
    illegal_characters,
    mandatory,
    too_much_precision,
)
from gridexchange.matching.orders import (
    BUY,
    FOK,
    GTC,
    IOC,
    LIMIT,
    LIMIT_MAKER,
    MARKET,
    PREVENTION_MODES,
    SELL,
)
from gridexchange.matching.orders import OrderRequest as NewOrder
from gridexchange.protocol.time_unit import MICROSECONDS_IN_MS, to_microseconds

DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
LONG = r"^[0-9]{1,20}$"
WINDOW = r"^([0-9]{1,20})(\.[0-9]{1,3})?$"
CLIENT_ORDER_ID = r"^[a-zA-Z0-9-_]{1,36}$"
SYMBOL = r"^[A-Z0-9-_.]{1,20}$"
API_KEY = re.compile(r"^[A-Za-z0-9_-]{1,128}$")
BOOLEANS = {"true": True, "false": False}

DECIMALS = 8
DEFAULT_WINDOW_MS = 5_000
LONGEST_WINDOW_MS = 60_000
AHEAD_MS = 1_000
LONGEST_LONG = 2**63 - 1

TRANSFER = "TRANSFER"  # Binance's mode between accounts; here is one
UNSUPPORTED_TYPES = {
    "STOP_LOSS": "Stop loss",
    "STOP_LOSS_LIMIT": "Stop loss limit",
    "TAKE_PROFIT": "Take profit",
    "TAKE_PROFIT_LIMIT": "Take profit limit",
}


@dataclass(frozen=True, repr=False)
class Credentials:
    """The API key and its secret; never printed. `withdrawals`: whether the key may withdraw."""

    api_key: str
    api_secret: str
    withdrawals: bool = False


class Parameters:
    """A request's parameters; each may be read once it is known to be there.

    Args:
        values: the parameters by name.
        signed_text: what the signature was made of.
    """

    def __init__(self, values: dict[str, str], signed_text: str) -> None:
        self._values = values
        self._signed_text = signed_text
        self._read: set[str] = set()

    @classmethod
    def of_form(cls, query: str, body: str) -> "Parameters":
        """Of an HTTP request.

        Args:
            query: the query string as it came.
            body: the form body as it came.

        Raises:
            ApiError: -1101, a parameter is there twice.
        """
        signed_text = _without_signature(query) + _without_signature(body)
        return cls(_parse(body) | _parse(query), signed_text)

    @classmethod
    def of_json(cls, values: dict[str, object]) -> "Parameters":
        """Of a request to the WebSocket API.

        Args:
            values: the object `params` as it came.

        Raises:
            ApiError: -1100, a value is neither text nor number nor a list.
        """
        texts = {name: _text_of(name, value) for name, value in values.items()}
        signed = sorted(item for item in texts.items() if item[0] != "signature")
        return cls(texts, "&".join(f"{name}={value}" for name, value in signed))

    def text(self, name: str, pattern: str | None = None) -> str | None:
        """A parameter, or None when it was not sent.

        Raises:
            ApiError: -1105 it is empty, -1100 it does not match `pattern`.
        """
        self._read.add(name)
        value = self._values.get(name)
        if value is None:
            return None
        if not value:
            raise ApiError(-1105, f"Parameter '{name}' was empty.")
        if pattern is not None and not re.fullmatch(pattern[1:-1], value, re.ASCII):
            raise illegal_characters(name, pattern)
        return value

    def required(self, name: str, pattern: str | None = None) -> str:
        """A parameter that must be there.

        Raises:
            ApiError: -1102 it was not sent; see `text`.
        """
        if not self._values.get(name):
            self._read.add(name)
            raise mandatory(name)
        value = self.text(name, pattern)
        if value is None:
            raise mandatory(name)
        return value

    def integer(self, name: str) -> int | None:
        """A whole number of 0 or more, or None when it was not sent."""
        value = self.text(name, LONG)
        if value is None:
            return None
        number = int(value)
        if number > LONGEST_LONG:
            raise ApiError(-1108, f"Parameter '{name}' overflowed.")
        return number

    def moment(self, name: str) -> int | None:
        """A time in milliseconds, sent as such or in microseconds; None when it was not sent."""
        value = self.integer(name)
        return None if value is None else -(-to_microseconds(value) // MICROSECONDS_IN_MS)

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """One of several words, or None when it was not sent.

        Raises:
            ApiError: -1130, it is another one.
        """
        value = self.text(name)
        if value is not None and value not in choices:
            raise ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")
        return value

    def limit(self, default: int, highest: int) -> int:
        """The parameter `limit`, between 1 and `highest`."""
        value = self.integer("limit")
        if value is None:
            return default
        if value == 0:
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value, highest)

    def boolean(self, name: str, *, default: bool) -> bool:
        """`true` or `false`."""
        value = self.text(name)
        if value is None:
            return default
        if value not in BOOLEANS:
            raise illegal_characters(name, "^(true|false)$")
        return BOOLEANS[value]

    def amount(self, name: str, word: str) -> Decimal | None:
        """A decimal number above 0, or None when it was not sent.

        Args:
            name: the parameter.
            word: what Binance calls it when it is 0.
        """
        value = self.text(name, DECIMAL)
        if value is None:
            return None
        fraction = value.partition(".")[2].rstrip("0")
        if len(fraction) > DECIMALS:
            raise too_much_precision(name)
        amount = Decimal(value)
        if amount <= 0:
            raise ApiError(-1013, f"Invalid {word}.")
        return amount

    def refuse(self, *names: str) -> None:
        """Parameters that must not be there.

        Raises:
            ApiError: -1106, one is.
        """
        for name in names:
            if name in self._values:
                raise ApiError(-1106, f"Parameter '{name}' sent when not required.")

    def finish(self) -> None:
        """All parameters have been read.

        Raises:
            ApiError: -1101 or -1104, more were sent.
        """
        unread = set(self._values) - self._read
        if not unread:
            return
        if not self._read:
            raise ApiError(
                -1101, f"Too many parameters; expected '0' and received '{len(self._values)}'."
            )
        raise ApiError(
            -1104,
            f"Not all sent parameters were read; read '{len(self._values) - len(unread)}'"
            f" parameter(s) but was sent '{len(self._values)}'.",
        )

    def authenticate(self, header: str | None, credentials: Credentials, now_ms: int) -> None:
        """Check API key, timestamp and signature.

        Args:
            header: the X-MBX-APIKEY header, or None.
            credentials: what they must be made with.
            now_ms: the server's time.

        Raises:
            ApiError: -2014 or -2015 for the key, -1102, -1021 or -1131 for the time, -1022 for
                the signature.
        """
        if header is None or not API_KEY.match(header):
            raise ApiError(-2014, "API-key format invalid.", HTTPStatus.UNAUTHORIZED)
        timestamp = self._timestamp()
        signature = self.required("signature")
        if not hmac.compare_digest(header.encode(), credentials.api_key.encode()):
            raise ApiError(
                -2015,
                "Invalid API-key, IP, or permissions for action.",
                HTTPStatus.UNAUTHORIZED,
            )
        self._check_time(timestamp, now_ms)
        expected = hmac.new(
            credentials.api_secret.encode(), self._signed_text.encode(), hashlib.sha256
        ).hexdigest()
        if not hmac.compare_digest(signature.lower().encode(), expected.encode()):
            raise ApiError(-1022, "Signature for this request is not valid.")

    def _timestamp(self) -> int:
        self.required("timestamp")
        timestamp = self.integer("timestamp")
        if timestamp is None:
            raise mandatory("timestamp")
        return timestamp

    def _check_time(self, timestamp: int, now_ms: int) -> None:
        window = self.text("recvWindow", WINDOW)
        window_ms = DEFAULT_WINDOW_MS if window is None else Decimal(window)
        if window_ms > LONGEST_WINDOW_MS:
            raise ApiError(-1131, f"recvWindow must be less than {LONGEST_WINDOW_MS}.")
        behind = now_ms * MICROSECONDS_IN_MS - to_microseconds(timestamp)
        if behind <= -AHEAD_MS * MICROSECONDS_IN_MS:
            raise ApiError(
                -1021, "Timestamp for this request was 1000ms ahead of the server's time."
            )
        if behind > window_ms * MICROSECONDS_IN_MS:
            raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")


def read_order(parameters: Parameters, new_id: str) -> NewOrder:
    """The new order that a request asks for.

    Args:
        parameters: the request's parameters.
        new_id: client order ID to use when none is sent.

    Raises:
        ApiError: a parameter is missing, wrong, or not for this type of order.
    """
    side = parameters.required("side")
    if side not in (BUY, SELL):
        raise ApiError(-1117, "Invalid side.")
    kind = parameters.required("type")
    if kind in UNSUPPORTED_TYPES:
        words = UNSUPPORTED_TYPES[kind]
        raise ApiError(-2010, f"{words} orders are not supported for this symbol.")
    if kind not in (LIMIT, LIMIT_MAKER, MARKET):
        raise ApiError(-1116, "Invalid orderType.")
    client_order_id = parameters.text("newClientOrderId", CLIENT_ORDER_ID) or new_id
    parameters.refuse("stopPrice", "trailingDelta", "icebergQty")
    prevention = parameters.choice("selfTradePreventionMode", (*PREVENTION_MODES, TRANSFER))
    if prevention == TRANSFER:
        raise ApiError(
            -1013, "This symbol does not allow the specified self-trade prevention mode."
        )
    if kind == MARKET:
        parameters.refuse("price", "timeInForce")
        quantity = parameters.amount("quantity", "quantity")
        quote_quantity = parameters.amount("quoteOrderQty", "quote order qty")
        if quantity is None and quote_quantity is None:
            raise ApiError(
                -1102,
                "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!",
            )
        if quantity is not None and quote_quantity is not None:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        return NewOrder(
            side,
            kind,
            GTC,
            client_order_id,
            quantity=quantity,
            quote_quantity=quote_quantity,
            self_trade_prevention=prevention,
        )
    parameters.refuse("quoteOrderQty")
    time_in_force = _time_in_force(parameters, kind)
    parameters.required("quantity")
    parameters.required("price")
    return NewOrder(
        side,
        kind,
        time_in_force,
        client_order_id,
        price=parameters.amount("price", "price"),
        quantity=parameters.amount("quantity", "quantity"),
        self_trade_prevention=prevention,
    )


def _time_in_force(parameters: Parameters, kind: str) -> str:
    if kind == LIMIT_MAKER:
        parameters.refuse("timeInForce")
        return GTC
    time_in_force = parameters.required("timeInForce")
    if time_in_force not in (GTC, IOC, FOK):
        raise ApiError(-1115, "Invalid timeInForce.")
    return time_in_force


def _parse(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in values:
            raise ApiError(-1101, f"Duplicate values for parameter '{name}' detected.")
        values[name] = value
    return values


def _text_of(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | list):
        return json.dumps(value, separators=(",", ":"))
    raise ApiError(-1100, f"Illegal characters found in parameter '{name}'.")


def _without_signature(text: str) -> str:
    """What is signed: the text as it was sent, less the signature itself."""
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))
