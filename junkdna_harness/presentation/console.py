"""All that is printed goes through here, so that no name in it acts on a terminal (`difficulty.visible`).

A table is folded to a terminal's width, and not at all where nobody sees an edge.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from difficulty.visible import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200  # characters of a line in a pipe or a file


def console(width: int = WIDE, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console as wide as the terminal; in a pipe or a file at least `width` characters wide.

    `soft_wrap` leaves it to the terminal to fold long lines.
    """
    file = sys.stderr if stderr else sys.stdout
    kind = safe_console()
    found = kind(file=file, soft_wrap=soft_wrap)
    return found if found.is_terminal else kind(file=file, soft_wrap=soft_wrap, width=max(width, found.width))


@cache
def safe_console() -> type[Console]:
    """rich's console; of what it prints, nothing but its own colours and movements acts on a terminal."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Safe(Console):
        def render_str(self, text: str, **how: Any) -> Any:
            return super().render_str(visible(text), **how)  # before widths are measured

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Any:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    return Safe


def say(text: object = "", stderr: bool = False, end: str = "\n") -> None:
    """Print a text on stdout or stderr."""
    print(visible(str(text)), file=sys.stderr if stderr else sys.stdout, end=end)


def say_json(text: str, end: str = "\n") -> None:
    """Print JSON on stdout."""
    print(visible_json(text), end=end)
