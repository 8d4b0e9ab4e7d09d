"""Draws a figure as one HTML file with SVG in it: no library, nothing fetched from elsewhere."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np
from gridbase.atomic_file import write_whole

from gridbot.plot.figure import Band, Dots, Figure, Floats, Layer, Panel, Rules

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
.layer { fill: none; stroke-width: 1.2; }
.rules { fill: none; stroke-width: .6; stroke-opacity: .8; }
.dots { fill: none; stroke-linecap: round; }
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


class _Axes:
    """Where values are on a panel, in pixels."""

    def __init__(self, panel: Panel) -> None:
        self.height = HEIGHT_PER_WEIGHT * panel.weight
        self.x_low, self.x_high = _range([_xs(layer) for layer in panel.layers])
        ys = [values for layer in panel.layers for values in _ys(layer)]
        self.y_low, self.y_high = _range(ys)
        margin = (self.y_high - self.y_low) * 0.04
        self.y_low, self.y_high = self.y_low - margin, self.y_high + margin

    def x(self, values: Floats) -> list[float]:
        """Pixels from the left."""
        scale = (WIDTH - LEFT - RIGHT) / (self.x_high - self.x_low)
        pixels: list[float] = np.round(LEFT + (values - self.x_low) * scale, 1).tolist()
        return pixels

    def y(self, values: Floats) -> list[float]:
        """Pixels from the top."""
        scale = (self.height - TOP - BOTTOM) / (self.y_high - self.y_low)
        pixels: list[float] = np.round(TOP + (self.y_high - values) * scale, 1).tolist()
        return pixels


def _xs(layer: Layer) -> Floats:
    return np.empty(0) if isinstance(layer, Rules) else layer.x


def _ys(layer: Layer) -> tuple[Floats, ...]:
    return (layer.low, layer.high) if isinstance(layer, Band) else (layer.y,)


def _range(values: list[Floats]) -> tuple[float, float]:
    filled = [each for each in values if len(each)]
    if not filled:
        return 0.0, 1.0
    low = float(min(each.min() for each in filled))
    high = float(max(each.max() for each in filled))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _panel(panel: Panel) -> str:
    axes = _Axes(panel)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {axes.height}" role="img" aria-label="{escape(panel.title)}">',
        f'<text x="{LEFT}" y="16">{escape(panel.title)}</text>',
        *_grid(panel, axes),
        *(_layer(layer, axes) for layer in panel.layers),
        *_legend(panel),
        "</svg>",
    ]
    return "\n".join(parts)


def _grid(panel: Panel, axes: _Axes) -> list[str]:
    """Axes' lines and numbers."""
    parts = []
    bottom = axes.height - BOTTOM
    y_ticks, digits = _ticks(axes.y_low, axes.y_high)
    for value, y in zip(y_ticks.tolist(), axes.y(y_ticks), strict=True):
        parts.append(f'<path class="axis" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        label = f"{value:,.{digits}f}"
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>')
    if panel.time_axis:
        x_ticks, digits = _time_ticks(axes.x_low, axes.x_high), 0
    else:
        x_ticks, digits = _ticks(axes.x_low, axes.x_high)
    dates = axes.x_high - axes.x_low > 2 * 1440 * MINUTE_MS
    for value, x in zip(x_ticks.tolist(), axes.x(x_ticks), strict=True):
        label = _moment(value, dates=dates) if panel.time_axis else f"{value:,.{digits}f}"
        parts.append(f'<path class="axis" d="M{x} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    label = escape(panel.x_label)
    place = f'x="{WIDTH - RIGHT}" y="{axes.height - 4}"'
    parts.append(f'<text {place} text-anchor="end">{label}</text>')
    return parts


def _layer(layer: Layer, axes: _Axes) -> str:
    color = f'stroke="{layer.color}"'
    if isinstance(layer, Rules):
        lines = "".join(f"M{LEFT} {y}H{WIDTH - RIGHT}" for y in axes.y(layer.y))
        return f'<path class="rules" {color} d="{lines}"/>'
    xs = axes.x(layer.x)
    if isinstance(layer, Band):
        pairs = zip(xs, axes.y(layer.low), axes.y(layer.high), strict=True)
        points = " ".join(f"{x},{low} {x},{high}" for x, low, high in pairs)
    else:
        points = " ".join(f"{x},{y}" for x, y in zip(xs, axes.y(layer.y), strict=True))
    if isinstance(layer, Dots):
        # A line of no length with round ends is a dot.
        dots = "".join(f"M{point.replace(',', ' ')}h0" for point in points.split())
        return f'<path class="dots" {color} stroke-width="{layer.size}" d="{dots}"/>'
    return f'<polyline class="layer" {color} points="{points}"/>'


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
