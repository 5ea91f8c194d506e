"""Text files as a user has them: plain text, or rows of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import parsed

FIELDS = ("text", "content", "passage", "document")
JSON = (".jsonl", ".json")


def path_and_field(name: str) -> tuple[Path, str | None]:
    """The file of a name, and the field of its rows where the name ends in one: `FILE.jsonl:FIELD`."""
    path = Path(name)
    if path.is_file() or ":" not in name:
        return path, None
    front, _, field = name.rpartition(":")
    return Path(front), field


def read_text(path: Path, name: str, what: str = "text file") -> str:
    """The text of a file that a user called `name`.

    Raises:
        UsageError: it is empty, binary, or not UTF-8.
    """
    raw = path.read_bytes()
    if not raw.strip():
        raise UsageError(f"{what} {name!r} is empty. Give a file with text.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UsageError(f"{what} {name!r} is binary, or not UTF-8. Give a text or jsonl file.")
    return text


def read_rows(text: str, name: str, field: str | None = None, what: str = "text file") -> list[str]:
    """The texts in lines of JSON: of `field`, else of the field that holds text, or each prompt with its answer.

    Raises:
        UsageError: a line that is no JSON object, a row without the field, or fields of which none is clearly the text.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parsed(line)
        except ValueError as error:
            raise UsageError(f"{what} {name!r}, line {number}: not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise UsageError(f"{what} {name!r}, line {number}: not a JSON object.")
        rows.append(row)
    if field is None and all(_is_worked(row) for row in rows):
        return [row["prompt"] + row["answer"] for row in rows]
    chosen = field or text_column(
        sorted(set().union(*(row.keys() for row in rows))), rows[0], f"{what} {name!r}"
    )
    missing = next((i for i, row in enumerate(rows, 1) if not isinstance(row.get(chosen), str)), None)
    if missing is not None:
        raise UsageError(f"{what} {name!r}, object {missing}: no text field {chosen!r}.")
    return [str(row[chosen]) for row in rows]


def text_column(names: Sequence[str], row: Mapping[str, Any], source: str) -> str:
    """Which of the columns `names` holds the text; `source` is what the user gave, in words.

    Raises:
        UsageError: none is called so, and there is more than one that may be it.
    """
    texts = [name for name in names if isinstance(row.get(name), str)]
    for name in (*FIELDS, *(texts if len(texts) == 1 else ())):
        if name in texts:
            return str(name)
    raise UsageError(
        f"{source} has no column 'text'. Name one of {', '.join(names)} after a colon at the end."
    )


def _is_worked(row: Mapping[str, Any]) -> bool:
    """True for the rows that recovery trains on where they hold no text: a prompt and the answer that follows it."""
    if any(isinstance(row.get(name), str) for name in FIELDS):
        return False
    return isinstance(row.get("prompt"), str) and isinstance(row.get("answer"), str)
