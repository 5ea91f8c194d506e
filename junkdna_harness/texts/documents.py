"""The documents that a model is measured on: files, rows of files, or the texts that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from difficulty.errors import UsageError
from junkdna_harness.embedded import calibration_text
from junkdna_harness.harness.training import asked_texts
from junkdna_harness.texts.files import JSON, path_and_field, read_rows, read_text

STARTER = "starter"  # texts of this project, of several kinds
EMBEDDED = "embedded"  # training text of the embedded models
STARTER_FOLDER = Path(__file__).parent / "starter"
EMBEDDED_CHARACTERS = 40_000
EMBEDDED_SEED = 17  # not that of any calibration


@dataclass(frozen=True)
class Document:
    """A text, and where it comes from: `source` as the user named it, and the number of its row there, from 0."""

    source: str
    number: int
    text: str


def read_documents(names: Sequence[str]) -> list[Document]:
    """The documents of text files (one each), of `.jsonl` files (`FILE.jsonl:FIELD` names the field; one a row), of `starter`, of `embedded`.

    Raises:
        UsageError: a file that is not there, empty, binary, no UTF-8 or no JSON; a name given twice; or none.
    """
    if not names:
        raise UsageError(f"there is no text. Give --text FILE (.txt or .jsonl), or --text {STARTER}.")
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise UsageError(f"text {twice[0]!r} is there twice. Name each once.")
    return [document for name in names for document in _read(str(name))]


def task_documents(names: Sequence[str], include_path: str | None = None) -> list[Document]:
    """What lm-eval's tasks ask, each document with its right answer; of tasks that measure perplexity, their texts.

    Raises:
        UsageError: a task is unknown, cannot be loaded, or asks texts that are empty.
    """
    found = []
    for name in dict.fromkeys(names):
        for task, texts in asked_texts(name, include_path).items():
            found += [Document(task, i, text) for i, text in enumerate(texts) if text.strip()]
    if names and not found:
        raise UsageError(f"the documents of {', '.join(names)} are empty.")
    return found


def _read(name: str) -> list[Document]:
    if name == STARTER:
        paths = sorted(STARTER_FOLDER.glob("*.txt"))
        return [Document(f"{STARTER}/{path.stem}", 0, path.read_text(encoding="utf-8")) for path in paths]
    if name == EMBEDDED:
        return [Document(EMBEDDED, 0, calibration_text(EMBEDDED_CHARACTERS, EMBEDDED_SEED))]
    path, field = path_and_field(name)
    if path.is_dir():
        raise UsageError(f"text {name!r} is a folder. Give its files, e.g. {name.rstrip('/')}/*.txt.")
    if not path.is_file():
        raise UsageError(
            f"there is no text file {name!r}. Give a .txt or .jsonl file, {STARTER} or {EMBEDDED}."
        )
    text = read_text(path, name)
    if path.suffix not in JSON:
        return [Document(name, 0, text)]
    rows = [(i, row) for i, row in enumerate(read_rows(text, name, field)) if row.strip()]
    if not rows:
        raise UsageError(f"text file {name!r} holds empty texts alone. Give a file with text.")
    return [Document(name, i, row) for i, row in rows]
