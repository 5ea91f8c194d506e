"""Parquet files of a sweep, read whole or refused with a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from difficulty.errors import UsageError


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The table in a file of a sweep.

    Raises:
        UsageError: it cannot be read, or lacks one of the `columns`.
    """
    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except Exception as error:  # of a damaged file pyarrow raises errors of a dozen kinds
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(
            f"{str(path)!r} cannot be read ({first}). Start the same sweep again: it writes it again."
        ) from error
