"""Binance's REST API, through ccxt's own `binance` and `binanceus` classes.

ccxt signs and sends; its raw endpoint methods are used, because they make one request each and
keep every amount as the text the exchange wrote. No request is repeated here.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import requests
from gridbase.ccxt_package import exchange_class
from gridbase.market import plain

from gridbot.config.load import ExchangeConfig
from gridbot.exchanges.access.request_gate import SENSELESS, AnsweredError
from gridbot.exchanges.access.testnet import use_testnet
from gridbot.exchanges.access.unanswered import MARKET_HEADER, no_answer
from gridbot.exchanges.binance.answers import REFUSED_ORDER, failure_kind
from gridbot.exchanges.port import BrokerError, Failure

RECEIVE_WINDOW_MS = 5000
WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"

# After the head of an answer: its body did not come, or not all of it.
_CUT = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class BinanceRest:
    """One account's requests.

    Args:
        config: names the exchange and its address.
        api_key: sent with every signed request.
        api_secret: signs them.
        now_ms: the time that a request bears (Unix milliseconds).
        on_weight: gets the weight used in this minute.
        session: HTTP session, kept alive between requests.

    Attributes:
        address: where requests go.
        market_label: what the exchange says about its market; see `Broker`.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        api_key: str,
        api_secret: str,
        *,
        now_ms: Callable[[], int],
        on_weight: Callable[[int], None],
        session: requests.Session | None = None,
    ) -> None:
        self._config = config
        self._on_weight = on_weight
        self._response: requests.Response | None = None
        self.market_label = ""
        session = session or requests.Session()
        session.trust_env = False
        session.hooks["response"].append(self._seen)
        self._client = exchange_class(config.name)(
            {
                "apiKey": api_key,
                "secret": api_secret,
                "session": session,
                "timeout": int(config.timeout_seconds * 1000),
                "enableRateLimit": False,  # it would sleep by a clock that is not ours
                "options": {"recvWindow": RECEIVE_WINDOW_MS, "timeDifference": 0},
            }
        )
        self._client.milliseconds = now_ms
        if config.url is not None:
            # These and no others: a paper bot knows no address of a real exchange.
            address = config.url + "/api/v3"
            self._client.urls["api"] = {
                "public": address,
                "private": address,
                "sapi": config.url + "/sapi/v1",
            }
        elif config.testnet:
            use_testnet(self._client)
        self.address = str(self._client.urls["api"]["private"])
        self._errors = importlib.import_module("ccxt.base.errors").BaseError

    def close(self) -> None:
        """Close the connections."""
        self._client.session.close()

    def ask(self, method: str, parameters: dict[str, Any]) -> Any:
        """Send one request.

        Args:
            method: name of ccxt's method for the endpoint.
            parameters: of the endpoint.

        Raises:
            BrokerError: see `Failure`; an `AnsweredError` where the exchange answered.
        """
        self._response = None
        outer = sys.exception()
        # ccxt takes a refused key for a ban once a request has succeeded; the code decides here.
        self._client.options["hasAlreadyAuthenticatedSuccessfully"] = False
        try:
            return getattr(self._client, method)(parameters)
        except self._errors as error:
            raise self._failure(error, outer) from error
        except SENSELESS as error:
            raise BrokerError(
                Failure.AMBIGUOUS,
                f"exchange {self.address}: its answer to {method} makes no sense",
            ) from error
        finally:
            # ccxt keeps the last bodies; a day's worth of trades must not stay in memory.
            self._client.last_http_response = self._client.last_json_response = None

    def refuse(
        self, status: int, code: int | None, said: str, retry_after: float | None
    ) -> AnsweredError:
        """The error for an answer that is no result.

        Args:
            status: of HTTP, or its like in the WebSocket API.
            code: Binance's; None where there is none.
            said: what it says in words.
            retry_after: seconds that it asks to wait.
        """
        detail = f"{said} ({code})" if code is not None else said
        kind = failure_kind(status, code, detail)
        message = f"exchange {self.address}: {detail}"
        if kind is Failure.AUTH:
            message = (
                f"exchange {self.address} does not accept the API key of exchange.api_key_file = "
                f"{self._config.api_key_file} with exchange.api_secret_file = "
                f"{self._config.api_secret_file}: {detail}"
            )
        return AnsweredError(
            kind,
            message,
            status=status,
            code=code,
            decided=code == REFUSED_ORDER,
            retry_after=retry_after,
        )

    def _seen(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        self._response = response
        self.market_label = response.headers.get(MARKET_HEADER, "")
        used = response.headers.get(WEIGHT_HEADER, "")
        if used.isdigit():
            self._on_weight(int(used))

    def _failure(self, error: Exception, outer: BaseException | None) -> BrokerError:
        if self._response is None:
            timeout = plain(self._config.timeout_seconds)
            return no_answer(error, outer, self.address, timeout)
        if isinstance(error.__cause__, _CUT):
            # What it began to say may have been that the order is there.
            return BrokerError(Failure.AMBIGUOUS, f"exchange {self.address}: its answer broke off")
        status, document = self._response.status_code, self._document()
        code = document.get("code")
        said = document.get("msg") or f"HTTP {status} {self._response.reason}"
        header = self._response.headers.get("Retry-After", "")
        return self.refuse(
            status,
            code if isinstance(code, int) else None,
            str(said),
            float(header) if header.isdigit() else None,
        )

    def _document(self) -> dict[str, Any]:
        if self._response is None:
            return {}
        try:
            document = self._response.json()
        except (ValueError, requests.RequestException):
            return {}
        return document if isinstance(document, dict) else {}
