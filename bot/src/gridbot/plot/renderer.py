"""What draws a figure into a file, by the file's name.

`.html` is one file with its drawing as SVG, made without any library and showing without a network;
`.png` is drawn by matplotlib where that is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from gridbase.errors import UserError

from gridbot.plot.figure import Figure


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
        from gridbot.plot.html import write_html

        return lambda figure: write_html(figure, path)
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            f"--plot = {path} needs matplotlib, which is not installed: install matplotlib, "
            f"or name {path.with_suffix('.html').name}, which needs nothing"
        )
    from gridbot.plot.png import write_png

    return lambda figure: write_png(figure, path)
