"""Benchmark rows from the user's own disk, in place of the hub: JSON Lines, one object per row.

The folder is `data_dir` of the task's metadata (`lm_eval --metadata '{"data_dir": "..."}'`), else the environment
variable JUNKDNA_DATA; with neither, the hub is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import of_known_shape, parsed, read_text

Rows = list[dict[str, Any]]


def data_dir(metadata: Mapping[str, Any]) -> Path | None:
    """The folder of local rows, or None for the hub."""
    given = metadata.get("data_dir") or os.environ.get("JUNKDNA_DATA")
    return Path(str(given)).expanduser() if given else None


def local_splits(folder: Path, files: Mapping[str, str]) -> dict[str, Path]:
    """The splits that are there, split name -> file.

    Raises:
        UsageError: none is there; the message says where they were looked for.
    """
    if not folder.is_dir():
        raise UsageError(
            f"the data folder {str(folder)!r} does not exist. Set data_dir or JUNKDNA_DATA to a folder."
        )
    found = {split: folder / name for split, name in files.items() if (folder / name).is_file()}
    if not found:
        raise UsageError(
            f"the data folder {str(folder)!r} has no {' or '.join(repr(name) for name in files.values())}. "
            "Put the rows there, or unset data_dir and JUNKDNA_DATA to use the hub."
        )
    return found


@lru_cache(maxsize=64)
def _read(path: str, mtime_ns: int, adapter: Callable[[Rows], Rows] | None) -> Any:
    """A data set of the rows of a file; the same object for the same file, so that its maps are cached too."""
    import datasets

    rows: Rows = []
    text = read_text(path, "the file", "Write one JSON object per line.")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parsed(line)
            if not isinstance(row, dict):
                raise ValueError(f"a {type(row).__name__}")
        except ValueError as error:
            raise UsageError(
                f"line {number} of {path!r} is no JSON object ({error}). Write one object per line."
            ) from error
        rows.append(row)
    with of_known_shape(path, "the file", "Give every row the same keys, with values of one kind."):
        return datasets.Dataset.from_list(adapter(rows) if adapter else rows)


def read_rows(path: Path, adapter: Callable[[Rows], Rows] | None = None) -> Any:
    """A `datasets.Dataset` of a JSON Lines file, each row passed through `adapter` first."""
    return _read(str(path), path.stat().st_mtime_ns, adapter)
