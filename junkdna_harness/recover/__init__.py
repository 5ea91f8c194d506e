"""Recovery: what pruning took away, can training give it back? Five arms, equal compute, ordinary checkpoints out.

* `recover("checkpoint", "out", RecoverSpec(...))` trains a model and writes a checkpoint; it returns a `Recovered`.
* `RecoverSpec` says by which arm (`ARMS`), on what, and how long.

Examples:
    >>> from junkdna_harness.recover import ARMS, RecoverSpec
    >>> [RecoverSpec(arm=arm).needs_mask for arm in ARMS]
    [False, True, True, True, True]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from difficulty.callable_module import make_callable
from difficulty.runs.identity import ARMS, DENSE_FREEZING, DENSE_TRANSFER, SPARSE_TO_DENSE, SPARSE_TRANSFER
from junkdna_harness.recover.spec import RecoverSpec

if TYPE_CHECKING:
    from junkdna_harness.recover.run import Recovered, recover

__all__ = [
    "ARMS", "DENSE_FREEZING", "DENSE_TRANSFER", "SPARSE_TO_DENSE", "SPARSE_TRANSFER", "RecoverSpec", "Recovered", "recover",
]  # fmt: skip


make_callable(__name__, "junkdna_harness.recover.run:recover")


def __getattr__(name: str) -> Any:
    """`recover` and `Recovered` bring torch and transformers, so they are imported when first used."""
    if name in ("recover", "Recovered"):
        from junkdna_harness.recover import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
