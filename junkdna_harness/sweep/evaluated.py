"""A run that was evaluated, as bytes on their way from the worker to the store."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evaluated:
    """A run, ready to be written: two parquet files and the manifest."""

    samples: bytes
    responses: bytes
    manifest: Mapping[str, Any]


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """`frame` as a parquet file; the same frame gives the same bytes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
