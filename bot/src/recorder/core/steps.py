"""Printed numbers as whole multiples of a step, exactly."""

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

LARGEST = 2**63 - 1
MOST_DIGITS = 18
FINEST = -8  # exponent of what exchanges print: one wrong price must not make steps so fine


class FinerStepError(ValueError):
    """A number is no multiple of the step.

    Args:
        name: of the step that is too coarse.
        finer: the step that holds the number.
    """

    def __init__(self, name: str, finer: Decimal) -> None:
        super().__init__(f"{name} needs {finer}")
        self.name = name
        self.finer = finer


class Step:
    """One step.

    Args:
        name: of the step, for errors.
        size: the step.
    """

    def __init__(self, name: str, size: Decimal) -> None:
        self._name = name
        self._size = size.normalize()
        # Exchanges print a fixed number of decimals: then the digits alone tell the multiple.
        exponent = self._size.as_tuple().exponent
        power = self._size == Decimal(1).scaleb(int(exponent))
        self._decimals = -int(exponent) if power and int(exponent) <= 0 else None

    def multiple(self, text: str) -> int:
        """How many steps a printed number is.

        Raises:
            FinerStepError: it is no multiple.
            ValueError: it is no number of 0 or more, or does not fit into 64 bits.
        """
        whole, _, fraction = text.partition(".")
        decimals = self._decimals
        if decimals is not None and whole.isdigit() and text.isascii():
            kept, rest = fraction[:decimals], fraction[decimals:]
            if (not rest or not rest.strip("0")) and (kept.isdigit() or not kept):
                number = int(whole + kept + "0" * (decimals - len(kept)))
                if number <= LARGEST:
                    return number
        return self._slow(text)

    def _slow(self, text: str) -> int:
        try:
            value = Decimal(text)
        except InvalidOperation as error:
            raise ValueError(f"{text!r} is no number") from error
        if not value.is_finite() or value < 0:
            raise ValueError(f"{text!r} is no number of 0 or more")
        if value.adjusted() > MOST_DIGITS:
            raise ValueError(f"{text!r} does not fit into 64 bits")
        number, rest = divmod(value, self._size)
        if rest:
            exponent = int(value.normalize().as_tuple().exponent)
            finer = min(exponent, int(self._size.as_tuple().exponent))
            if finer < FINEST:
                raise ValueError(f"{text!r} has more than {-FINEST} decimals")
            raise FinerStepError(self._name, Decimal(1).scaleb(finer))
        if number > LARGEST:
            raise ValueError(f"{text!r} does not fit into 64 bits at a step of {self._size}")
        return int(number)


@dataclass(frozen=True)
class Sizes:
    """The steps of one symbol.

    Attributes:
        price: of prices (quote).
        quantity: of quantities (base).
        quote: of amounts in quote.
    """

    price: Decimal
    quantity: Decimal
    quote: Decimal

    def finer(self, error: FinerStepError) -> "Sizes":
        """These steps, with the one that an error names made fine enough."""
        return replace(self, **{error.name: error.finer})


class Steps:
    """Converts the printed numbers of one symbol.

    Args:
        sizes: its steps.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.price = Step("price", sizes.price).multiple
        self.quantity = Step("quantity", sizes.quantity).multiple
        self.quote = Step("quote", sizes.quote).multiple
