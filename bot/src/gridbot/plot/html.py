"""Draws a figure as one HTML file with SVG in it: no library, nothing fetched from elsewhere."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np
from gridbase.atomic_file import write_whole

from gridbot.plot.figure import Figure, Floats, Layer, Panel

WIDTH = 1200
LEFT, RIGHT, TOP, BOTTOM = 76, 14, 30, 34
HEIGHT_PER_WEIGHT = 220
TICKS = 8
MINUTE_MS = 60_000
TIME_STEPS = tuple(
    minutes * MINUTE_MS
    for minutes in (1, 5, 15, 60, 180, 360, 720, 1440, 2880, 7200, 14_400, 43_200, 129_600, 525_600)
)
STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 1240px; margin: 1.5em auto; padding: 0 1em;
  background: Canvas; color: CanvasText; }
h1 { font-size: 1.15em; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1.5em; }
dt { opacity: .7; } dd { margin: 0; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 12px; fill: CanvasText; }
.axis { stroke: CanvasText; stroke-opacity: .15; stroke-width: 1; }
.line { fill: none; stroke-width: 1.2; }
.rules { fill: none; stroke-width: .6; stroke-opacity: .8; }
.dots { fill: none; stroke-width: 4; stroke-linecap: round; }
"""


def write_html(figure: Figure, path: Path) -> None:
    """Draw it.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, render(figure).encode())


def render(figure: Figure) -> str:
    """The whole page."""
    title = escape(figure.title)
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in figure.facts
    )
    panels = "\n".join(_panel(panel) for panel in figure.panels)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"<dl>{facts}</dl>\n{panels}\n</body>\n</html>\n"
    )


class _Scale:
    """Where values are along one side of a panel, in pixels.

    Args:
        parts: everything that is to be on it.
        first: pixel of the lowest value.
        last: pixel of the highest one.
        margin: what stays free at both ends, as a share.
    """

    def __init__(self, parts: list[Floats], first: int, last: int, margin: float = 0) -> None:
        values = np.concatenate(parts) if any(map(len, parts)) else np.array([0.0, 1.0])
        low, high = float(values.min()), float(values.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        free = (high - low) * margin
        self.low, self.high = low - free, high + free
        self._first, self._per_unit = first, (last - first) / (self.high - self.low)

    def pixels(self, values: Floats) -> list[float]:
        """Where they are."""
        pixels: list[float] = np.round(
            self._first + (values - self.low) * self._per_unit, 1
        ).tolist()
        return pixels

    def ticks(self, *, time: bool = False) -> list[tuple[float, str]]:
        """Pixel and label of some round values."""
        values, digits = _ticks(self.low, self.high)
        labels = [f"{value:,.{digits}f}" for value in values.tolist()]
        if time:
            values = _time_ticks(self.low, self.high)
            dates = self.high - self.low > 2 * 1440 * MINUTE_MS
            labels = [_moment(value, dates=dates) for value in values.tolist()]
        return list(zip(self.pixels(values), labels, strict=True))


def _panel(panel: Panel) -> str:
    height = HEIGHT_PER_WEIGHT * panel.weight
    bottom, right = height - BOTTOM, WIDTH - RIGHT
    across = _Scale([layer.x for layer in panel.layers], LEFT, right)
    up = _Scale([layer.y for layer in panel.layers], bottom, TOP, margin=0.04)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(panel.title)}">',
        f'<text x="{LEFT}" y="16">{escape(panel.title)}</text>',
    ]
    for y, label in up.ticks():
        parts.append(f'<path class="axis" d="M{LEFT} {y}H{right}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>')
    for x, label in across.ticks(time=panel.time_axis):
        parts.append(f'<path class="axis" d="M{x} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    x_label = escape(panel.x_label)
    parts.append(f'<text x="{right}" y="{height - 4}" text-anchor="end">{x_label}</text>')
    parts += [_layer(layer, across.pixels(layer.x), up.pixels(layer.y)) for layer in panel.layers]
    return "\n".join([*parts, *_legend(panel), "</svg>"])


def _layer(layer: Layer, xs: list[float], ys: list[float]) -> str:
    if layer.shape == "rules":
        path = "".join(f"M{LEFT} {y}H{WIDTH - RIGHT}" for y in ys)
    elif layer.shape == "dots":
        # A line of no length with round ends is a dot.
        path = "".join(f"M{x} {y}h0" for x, y in zip(xs, ys, strict=True))
    else:
        path = "M" + " ".join(f"{x},{y}" for x, y in zip(xs, ys, strict=True)) if xs else ""
    return f'<path class="{layer.shape}" stroke="{layer.color}" d="{path}"/>'


def _legend(panel: Panel) -> list[str]:
    parts = []
    x = WIDTH - RIGHT
    for layer in reversed(panel.layers):
        x -= 8 * len(layer.name) + 26
        parts.append(f'<path d="M{x} 12h14" stroke="{layer.color}" stroke-width="4"/>')
        parts.append(f'<text x="{x + 18}" y="16">{escape(layer.name)}</text>')
    return parts


def _ticks(low: float, high: float) -> tuple[Floats, int]:
    """Round numbers between two others, and the decimals they need."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = _multiples(low, high, step)
    return ticks, digits


def _time_ticks(low: float, high: float) -> Floats:
    longest = TIME_STEPS[-1]
    step = next((step for step in TIME_STEPS if step * TICKS >= high - low), longest)
    return _multiples(low, high, step)


def _multiples(low: float, high: float, step: float) -> Floats:
    """All multiples of a step between two numbers."""
    numbers = np.arange(math.ceil(low / step), math.floor(high / step) + 1, dtype=np.float64)
    return np.multiply(numbers, step)


def _moment(milliseconds: float, *, dates: bool) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%d}" if dates else f"{moment:%m-%d %H:%M}"
