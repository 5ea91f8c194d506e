"""Strings from documents and model names, made harmless for each format that they are written to."""

from __future__ import annotations

import json
import re

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
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


def latex(text: str) -> str:
    """`text` as LaTeX prints it literally, on one line."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def markdown_cell(text: str) -> str:
    """`text` as a markdown table cell shows it literally, on one line."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def csv_cell(text: str) -> str:
    """`text` so that a spreadsheet does not run it as a formula; numbers stay numbers."""
    return "'" + text if text.startswith(_FORMULA) and not _NUMBER.match(text) else text


def one_line(text: str) -> str:
    """`text` with line breaks and control characters turned into blanks."""
    return "".join(character if character.isprintable() else " " for character in text)


def workflow_command(command: str, message: str, title: str) -> str:
    """A line that a GitHub runner takes as `command` (`error`, `warning`, `notice`), whatever the texts hold.

    >>> workflow_command("error", "50 % lost", "tier 4: fail, alas")
    '::error title=tier 4%3A fail%2C alas::50 %25 lost'
    """
    data = one_line(message).replace("%", "%25")
    named = one_line(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{command} title={named}::{data}"


def script_json(value: object) -> str:
    """JSON that may stand inside a `<script>` element: it can hold neither a closing tag nor a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate cannot be encoded as UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
