"""How pictures look: on a screen, and in a column of a paper."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STYLE: Mapping[str, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "junkdna",
    "pdf.fonttype": 42,  # TrueType, as publishers want it; matplotlib's own choice is Type 3
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.constrained_layout.use": True,
}
# In a page, text stays text: its letters drawn as paths are nearly half of a panel's bytes. Where DejaVu Sans is not installed,
# the browser takes Verdana, which is as wide, or its own, which is narrower than either: the layout holds.
ON_PAGE: Mapping[str, Any] = {"svg.fonttype": "none"}
FALLBACK = b"'DejaVu Sans', Verdana, sans-serif"
_TEXTS = (
    "font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize",
    "legend.title_fontsize", "figure.titlesize",
)  # fmt: skip
_COLUMN = 3.25  # inches: a column of a paper in two (ICML, ACL; NeurIPS has one of 5.5)
_POINTS = 8

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
# Okabe & Ito (2008), without yellow, which is too pale on white; for names without an order.
NAMES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
GREY = "#666666"


@dataclass(frozen=True)
class Theme:
    """`style` of matplotlib; `width` of one panel that stands alone, in inches, None for the picture's own.

    `apart`: each panel is a file of its own and has no title, whose place the caption of a paper takes.
    """

    style: Mapping[str, Any] = field(repr=False)
    width: float | None = None
    apart: bool = False


SCREEN = Theme(STYLE)
PAPER = Theme({**STYLE, **dict.fromkeys(_TEXTS, _POINTS)}, _COLUMN, apart=True)
THEMES: Mapping[str, Theme] = {"screen": SCREEN, "paper": PAPER}


def shorten(text: str, most: int) -> str:
    """At most `most` characters of a name, without what cannot be drawn."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= most else line[: most - 1] + "…"


def file_part(text: str) -> str:
    """A panel's title as a part of a file's name.

    >>> file_part("tier 4"), file_part("$m$ <x>"), file_part("☃")
    ('_tier_4', '_m_x', '')
    """
    kept = re.sub(r"[^A-Za-z0-9.:+-]+", "_", text).strip("_.")[:40]
    return f"_{kept}".replace(":", "-") if kept else ""
