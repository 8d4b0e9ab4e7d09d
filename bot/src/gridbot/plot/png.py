"""Draws a figure as PNG. Needs matplotlib, which only the drawing imports."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gridbase.atomic_file import write_whole

from gridbot.plot.figure import GREY, Band, Figure, Floats, Layer, Line, Panel, Rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_WIDE = 12.0
INCHES_PER_WEIGHT = 2.2
DPI = 120


def write_png(figure: Figure, path: Path) -> None:
    """Draw it.

    Raises:
        UserError: the file cannot be written.
    """
    # The class itself, not pyplot: no window system is looked for, no state is kept.
    from matplotlib.figure import Figure as Drawing

    weights = [panel.weight for panel in figure.panels]
    drawing = Drawing(
        figsize=(INCHES_WIDE, INCHES_PER_WEIGHT * sum(weights) + 0.6), layout="constrained"
    )
    axes = drawing.subplots(len(weights), 1, squeeze=False, height_ratios=weights)
    drawing.suptitle(figure.title, fontsize=11)
    for panel, place in zip(figure.panels, axes[:, 0], strict=True):
        _draw_panel(panel, place)
    content = io.BytesIO()
    drawing.savefig(content, format="png", dpi=DPI)
    write_whole(path, content.getvalue())


def _draw_panel(panel: Panel, axes: Axes) -> None:
    for layer in panel.layers:
        _draw_layer(layer, axes, time_axis=panel.time_axis)
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel(panel.x_label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, alpha=0.2)
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), ncols=9, frameon=False)


def _draw_layer(layer: Layer, axes: Axes, *, time_axis: bool) -> None:
    if isinstance(layer, Rules):
        for number, y in enumerate(layer.y.tolist()):
            axes.axhline(y, color=layer.color, lw=0.4, label=layer.name if number == 0 else None)
        return
    x = _dates(layer.x) if time_axis else layer.x
    if isinstance(layer, Band):
        axes.fill_between(x, layer.low, layer.high, color=GREY, lw=0.6, label=layer.name)
    elif isinstance(layer, Line):
        axes.plot(x, layer.y, color=layer.color, lw=1.0, label=layer.name)
    else:
        axes.scatter(x, layer.y, color=layer.color, s=layer.size, zorder=3, label=layer.name)


def _dates(milliseconds: Floats) -> Floats:
    """As matplotlib's dates, which NumPy's own become."""
    dates: Floats = milliseconds.astype(np.int64).astype("datetime64[ms]")
    return dates
