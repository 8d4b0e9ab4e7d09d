"""A drawing as data: panels of lines, dots and rules. See `gridbot.plot.renderer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
class Layer:
    """What is drawn of some points.

    Attributes:
        name: for the legend.
        x: empty for rules, which cross the whole panel.
        y: as many as x.
        color: as HTML writes it.
        shape: a curve through the points, single dots, or a horizontal line at each y.
    """

    name: str
    x: Floats
    y: Floats
    color: str = BLUE
    shape: Literal["line", "dots", "rules"] = "line"


def rules(name: str, y: Floats, color: str = GREY) -> Layer:
    """Horizontal lines across the panel."""
    return Layer(name, np.empty(0), y, color, "rules")


def band(name: str, x: Floats, low: Floats, high: Floats, color: str = GREY) -> Layer:
    """What lies between two curves, such as a price's extremes: a line from one to the other."""
    return Layer(name, np.repeat(x, 2), np.column_stack((low, high)).ravel(), color)


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
        panels: from top to bottom.
        facts: label and value of what it comes with.
    """

    title: str
    panels: tuple[Panel, ...]
    facts: tuple[tuple[str, str], ...] = ()
