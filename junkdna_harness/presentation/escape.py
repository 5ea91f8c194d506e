"""Strings from documents and model names, made harmless for each format that they are written to."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from difficulty.visible import reversible, visible, visible_json

if TYPE_CHECKING:
    from markupsafe import Markup

_JOINTS = re.compile(r"(?<=[+~_])(?=.)")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "δ": r"$\delta$",
    "α": r"$\alpha$",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$!&@])")
_BREAK = re.compile(r"\r?\n|\t|[^\S\x09-\x0d\x1c-\x20\x85\u2028\u2029]")  # and blanks that are no space
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


def latex(text: str) -> str:
    """`text` as LaTeX prints it literally, on one line."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def markdown_cell(text: str) -> str:
    """`text` as a markdown table cell shows it literally, on one line."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def csv_cell(text: str) -> str:
    """`text` so that a spreadsheet does not run it as a formula and a terminal obeys nothing in it; numbers stay numbers."""
    shown = reversible(text)
    return "'" + shown if shown.startswith(_FORMULA) and not _NUMBER.match(shown) else shown


def one_line(text: str) -> str:
    """`text` with line breaks and tabs turned into blanks, and other control characters into what can be seen of them."""
    return visible(_BREAK.sub(" ", text))


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def workflow_command(command: str, message: str, title: str) -> str:
    """A line that a GitHub runner takes as `command` (`error`, `warning`, `notice`), whatever the texts hold.

    >>> workflow_command("error", "50 % lost", "tier 4: fail, alas")
    '::error title=tier 4%3A fail%2C alas::50 %25 lost'
    """
    data = one_line(message).replace("%", "%25")
    named = one_line(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{command} title={named}::{data}"


def page_value(value: object) -> object:
    """What a page's template shows of a value; markup of our own (which has `__html__`) stays as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def breakable(name: str) -> Markup:
    """A name as a page shows it, which may be broken after `+`, `~` and `_` rather than within a word.

    >>> str(breakable("a+b_c~<1>"))
    'a+<wbr>b_<wbr>c~<wbr>&lt;1&gt;'
    """
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in _JOINTS.split(visible(name)))


def script_json(value: object) -> str:
    """JSON that may stand inside a `<script>` element: it can hold neither a closing tag nor a comment.

    Its texts are as a page may show them: control characters and changes of direction are seen and do nothing.
    """
    text = json.dumps(_shown(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return visible_json(text)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {name: _shown(inner) for name, inner in value.items()}
    return [_shown(inner) for inner in value] if isinstance(value, (list, tuple)) else value
