"""Asks the exchange that is followed over REST: public data only, no key, each request counted."""

from typing import TYPE_CHECKING, Any

from gridexchange.counters import UPSTREAM, Counters

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 10.0
WEIGHTS = {
    "exchangeInfo": 20,
    "aggTrades": 4,
    "depth": 5,
    "klines": 2,
    "ticker/price": 2,
}
INVALID_SYMBOL = -1121


class Away(Exception):  # noqa: N818  a state of the other side, not a mistake
    """The exchange that is followed does not answer, or refuses.

    Args:
        text: what it says, in a line.
        code: its own code, such as -1121; 0 for none.
        wait_s: how long it asks to wait (seconds); None where it does not say.
    """

    def __init__(self, text: str, code: int = 0, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.wait_s = wait_s


class Rest:
    """Its public REST API.

    Args:
        address: such as https://api.binance.com.
        counters: what counts requests and their weight.
        session: carries requests.
    """

    def __init__(self, address: str, counters: Counters, session: "requests.Session") -> None:
        self._address = address
        self._counters = counters
        self._session = session

    def ask(self, name: str, **parameters: object) -> Any:
        """What it answers to GET /api/v3/`name`.

        Raises:
            Away: it does not answer, or refuses.
        """
        import requests

        self._counters.add(UPSTREAM, f"GET {name}")
        self._counters.add(UPSTREAM, "weight", WEIGHTS[name])
        given = {key: value for key, value in parameters.items() if value is not None}
        try:
            answer = self._session.get(
                f"{self._address}/api/v3/{name}",
                params={key: str(value) for key, value in given.items()},
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
            if answer.status_code == 200:
                return answer.json()
        except requests.exceptions.Timeout as error:
            raise Away(f"no answer within {TIMEOUT_S:.0f} s") from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise Away(f"cannot be reached ({type(error).__name__})") from error
        raise _refusal(answer)


def _refusal(answer: "requests.Response") -> Away:
    """What an answer that is an error says."""
    try:
        document = answer.json()
        code, text = int(document["code"]), str(document["msg"])[:200]
    except (ValueError, KeyError, TypeError):
        code, text = 0, answer.reason
    wait = answer.headers.get("Retry-After", "")
    wait_s = float(wait) if wait.isdecimal() else None
    return Away(f"HTTP {answer.status_code}: {text}", code, wait_s)
