"""`lm_eval --use_cache` keyed by the model: lm-eval's own key is the request alone, so a pruned model got dense answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from lm_eval.api.model import CacheHook

from difficulty.errors import UsageError


class KeyedHook(CacheHook):  # type: ignore[misc]
    """lm-eval's hook, for one model: entries of other models in the same file, and those of `hf`, are not seen."""

    def __init__(self, hook: Any, fingerprint: Callable[[], str]) -> None:
        """`fingerprint` gives what stands for the model; it is asked only where there is a cache, for it reads all weights."""
        super().__init__(None)
        self.dbdict = hook.dbdict
        if self.dbdict is not None:
            key_by(self.dbdict, fingerprint())

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        """Keep an answer, unless it is none: what is not a number is refused, and must not be found the next time."""
        value = res[0] if isinstance(res, tuple) else res
        if not (isinstance(value, float) and (math.isnan(value) or value == math.inf)):
            super().add_partial(attr, req, res)


def key_by(database: Any, prefix: str) -> None:
    """Put `prefix` before every key of the database that lm-eval opened; it reads and writes through the same object.

    Raises:
        UsageError: the package below it is too old for that.
    """
    if not hasattr(database, "encode_key"):
        raise UsageError(
            "--use_cache needs sqlitedict 2.0 or newer: its keys must hold which model answered. Update it, or leave "
            "--use_cache out."
        )
    database.encode_key = lambda key: f"{prefix}/{key}"
    database.decode_key = lambda key: key.partition("/")[2]
