"""Binance's error codes and messages, as answers of the API."""

from http import HTTPStatus


class ApiError(Exception):
    """A request that is refused.

    Args:
        code: Binance's code, such as -1121.
        message: Binance's text for it.
        status: the HTTP status of the answer.
        headers: headers that the answer carries, such as Retry-After.
        data: what the answer says besides; None for nothing.
    """

    def __init__(
        self,
        code: int,
        message: str,
        status: HTTPStatus = HTTPStatus.BAD_REQUEST,
        headers: tuple[tuple[str, str], ...] = (),
        data: object = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers
        self.data = data

    def described(self) -> dict[str, object]:
        """The error as an answer words it."""
        described: dict[str, object] = {"code": self.code, "msg": self.message}
        if self.data is not None:
            described["data"] = self.data
        return described


def unknown_error() -> ApiError:
    """The exchange itself has a defect."""
    return ApiError(
        -1000,
        "An unknown error occurred while processing the request.",
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def internal_error() -> ApiError:
    """The books could not be written; what was asked for has not happened."""
    return ApiError(
        -1001,
        "Internal error; unable to process your request. Please try again.",
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def invalid_symbol() -> ApiError:
    """There is no such symbol."""
    return ApiError(-1121, "Invalid symbol.")


def too_much_precision(name: str) -> ApiError:
    """More decimals than the coin has."""
    return ApiError(-1111, f"Parameter '{name}' has too much precision.")


def filter_failure(name: str) -> ApiError:
    """An order breaks one of the symbol's filters."""
    return ApiError(-1013, f"Filter failure: {name}")


def order_rejected(message: str) -> ApiError:
    """The matching engine refuses a new order."""
    return ApiError(-2010, message)


def cancel_rejected(message: str) -> ApiError:
    """The matching engine refuses a cancellation."""
    return ApiError(-2011, message)


def mandatory(name: str) -> ApiError:
    """A parameter is missing."""
    return ApiError(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def illegal_characters(name: str, legal: str) -> ApiError:
    """A parameter does not match its pattern."""
    return ApiError(
        -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    )
