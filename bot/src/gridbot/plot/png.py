"""Draws a figure as PNG. Needs matplotlib, which only the drawing imports."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from gridbase.atomic_file import write_whole

from gridbot.plot.figure import Figure, Panel

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
        # Matplotlib knows NumPy's dates.
        x = layer.x.astype("datetime64[ms]") if panel.time_axis else layer.x
        color, label = layer.color, layer.name
        if layer.shape == "rules":
            place = axes.get_yaxis_transform()
            axes.hlines(layer.y, 0, 1, color, lw=0.4, label=label, transform=place)
        elif layer.shape == "dots":
            axes.plot(x, layer.y, "o", color=color, ms=2, label=label)
        else:
            axes.plot(x, layer.y, color=color, lw=1.0, label=label)
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel(panel.x_label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, alpha=0.2)
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), ncols=9, frameon=False)
