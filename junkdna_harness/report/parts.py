"""What the pages of `report` and `fidelity` share: how a page is filled in, its style, and its figures."""

from __future__ import annotations

import base64
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from junkdna_harness.presentation.escape import breakable, page_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from junkdna_harness.report.figures import Plot

_SIZE = re.compile(rb'<svg[^>]*?\b(width|height)="([\d.]+)pt"[^>]*?\b(?:width|height)="([\d.]+)pt"')
_MACROS = ("figure.html.j2", "verdict.html.j2", "board.html.j2")
# A panel may grow by so much, so that three fill a row of a page, and shrink, so that letters stay readable.
_GROWN, _SHRUNK = 1.13, 0.85
_PIXELS = 4 / 3  # CSS pixels of a point


def page_file(name: str) -> str:
    """A file of the page's own, as text."""
    return (resources.files("junkdna_harness.report") / "page" / name).read_text(encoding="utf-8")


def environment() -> Environment:
    """Templates in which every value is escaped, the macros that show a figure, a verdict and a table, and the filter `breakable`."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=page_value,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=DictLoader({name: page_file(name) for name in _MACROS}),
    )
    made.filters["breakable"] = breakable
    return made


def figures(plots: Sequence[Plot]) -> list[dict[str, Any]]:
    """What the macro takes: the words of each plot, and its panels."""
    return [
        {
            "name": plot.name,
            "alt": plot.alt,
            "panels": [_panel(panel, plot.alt) for panel in plot.panels],
        }
        for plot in plots
    ]


def _panel(panel: Plot, alt: str) -> dict[str, Any]:
    width, height = _size(panel.svg)
    return {
        "title": panel.alt,
        "alt": f"{alt}: {panel.alt}" if panel.alt else alt,
        "width": width,
        "least": round(_SHRUNK * width),
        "most": round(_GROWN * width),
        "height": height,
        "data": base64.b64encode(panel.svg).decode(),
    }


def _size(svg: bytes) -> tuple[int, int]:
    """Width and height in CSS pixels."""
    found = _SIZE.search(svg)
    assert found is not None
    a, b = (round(float(value) * _PIXELS) for value in found.groups()[1:])
    return (b, a) if found[1] == b"height" else (a, b)
