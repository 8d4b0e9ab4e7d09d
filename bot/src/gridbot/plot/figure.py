"""A drawing as data: panels of bands, lines, dots and rules. See `gridbot.plot.renderer`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Told apart by most people who see fewer colours (Okabe and Ito's palette).
GREY = "#7f8790"
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PURPLE = "#a5618d"


@dataclass(frozen=True)
class Band:
    """What lies between two curves, such as a price's extremes."""

    name: str
    x: Floats
    low: Floats
    high: Floats
    color: str = GREY


@dataclass(frozen=True)
class Line:
    """A curve."""

    name: str
    x: Floats
    y: Floats
    color: str = BLUE


@dataclass(frozen=True)
class Dots:
    """Single points."""

    name: str
    x: Floats
    y: Floats
    color: str = BLUE
    size: float = 4.0


@dataclass(frozen=True)
class Rules:
    """Horizontal lines across the panel."""

    name: str
    y: Floats
    color: str = GREY


Layer = Band | Line | Dots | Rules


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: what it shows.
        layers: drawn in this order.
        weight: its share of the height.
        time_axis: whether x is Unix milliseconds.
        x_label: what x is; empty for a time.
    """

    title: str
    layers: tuple[Layer, ...]
    weight: int = 1
    time_axis: bool = True
    x_label: str = ""


@dataclass(frozen=True)
class Figure:
    """A whole drawing.

    Attributes:
        title: its heading.
        facts: label and value of what it comes with.
        panels: from top to bottom.
    """

    title: str
    panels: tuple[Panel, ...]
    facts: tuple[tuple[str, str], ...] = field(default=())
