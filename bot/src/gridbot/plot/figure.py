"""A drawing as data: panels of bands, lines, dots and rules. Renderers turn it into a file.

`.html` is one file with its drawing as SVG, made without any library and showing without a network;
`.png` is drawn by matplotlib where that is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gridbot.backtest.data import Floats
from gridbot.errors import UserError

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


def renderer(path: Path) -> Callable[[Figure], None]:
    """What draws a figure into a file of this name; asked before anything is computed.

    Raises:
        UserError: there is nothing for such a file.
    """
    suffix = path.suffix.lower()
    if suffix not in {".png", ".html"}:
        raise UserError(f"--plot = {path} needs a name that ends in .png or .html")
    if not path.parent.is_dir():
        raise UserError(f"--plot = {path} is in a directory that does not exist")
    if suffix == ".html":
        from gridbot.backtest.svg import write_html

        return lambda figure: write_html(figure, path)
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            f"--plot = {path} needs matplotlib, which is not installed: install matplotlib, "
            f"or name {path.with_suffix('.html').name}, which needs nothing"
        )
    from gridbot.backtest.png import write_png

    return lambda figure: write_png(figure, path)
