"""Asks Binance or Binance.US over REST: public data only, no key, each request counted."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 10.0
# Where they answer, and where they stream.
ADDRESSES = {
    "binance": ("https://api.binance.com", "wss://stream.binance.com:9443"),
    "binanceus": ("https://api.binance.us", "wss://stream.binance.us:9443"),
}
WEIGHTS = {
    "exchangeInfo": 20,
    "aggTrades": 4,
    "klines": 2,
    "ticker/price": 2,
}
INVALID_SYMBOL = -1121
ILLEGAL_CHARACTERS = -1100  # such as small letters in a symbol


DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))  # by the levels asked for


class Away(Exception):  # noqa: N818  a state of the other side, not a mistake
    """The exchange does not answer, or refuses.

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
        count: told of each request, such as "GET depth", with 1, and of "weight" with its weight.
        session: carries requests.
    """

    def __init__(
        self, address: str, count: Callable[[str, int], None], session: "requests.Session"
    ) -> None:
        self._address = address
        self._count = count
        self._session = session

    def ask(self, name: str, **parameters: object) -> Any:
        """What it answers to GET /api/v3/`name`.

        Raises:
            Away: it does not answer, or refuses.
        """
        import requests

        self._count(f"GET {name}", 1)
        self._count("weight", weight_of(name, parameters))
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
        except (requests.exceptions.RequestException, ValueError, RecursionError) as error:
            raise Away(f"cannot be reached ({type(error).__name__})") from error
        raise _refusal(answer)


def weight_of(name: str, parameters: Mapping[str, object]) -> int:
    """The request weight of a question, as Binance counts it."""
    if name == "depth":
        levels = int(str(parameters.get("limit") or 100))
        return next(weight for most, weight in DEPTH_WEIGHTS if levels <= most)
    return WEIGHTS[name]


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
