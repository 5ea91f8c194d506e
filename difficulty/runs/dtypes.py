"""In which numbers runs were computed, and how near those that were computed in half precision are to float32.

Half precision moves log-likelihoods by themselves: a difference between two runs of different dtypes is in part rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

DTYPE = "dtype"  # of a `junkdna` block, and among the facts of a run
AGREEMENT = "agreement"  # of a run's manifest


def plain_dtype(given: object) -> str | None:
    """The name of a dtype as it was logged, without what it is a name of; None for anything else.

    >>> plain_dtype("torch.bfloat16"), plain_dtype("float32"), plain_dtype("")
    ('bfloat16', 'float32', None)
    """
    return given.removeprefix("torch.") or None if isinstance(given, str) else None


@dataclass(frozen=True)
class Agreement:
    """Answers in half precision beside those in float32, on the same weights and a sample of the items.

    `answers_changed`: items with another option, text or likeliest token. `lost` and `gained`: items whose score fell and rose.
    `loglik_mean` and `loglik_largest`: differences of log-likelihoods in nats, without a sign; None where there are none.
    """

    dtype: str
    items: int
    requests: int
    answers_changed: int
    lost: int
    gained: int
    loglik_mean: float | None
    loglik_largest: float | None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Agreement | None:
        """What the manifest of a sweep's run holds; None where it was not measured."""
        given = manifest.get(AGREEMENT)
        if not isinstance(given, Mapping) or any(f.name not in given for f in fields(cls)):
            return None
        return cls(**{f.name: given[f.name] for f in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the share of items that have another score and its interval."""
        low, high = self.interval
        return {
            **asdict(self),
            "share_changed": self.changed / self.items,
            "share_low": low,
            "share_high": high,
        }

    @property
    def changed(self) -> int:
        """Items that have another score."""
        return self.lost + self.gained

    @property
    def interval(self) -> tuple[float, float]:
        """The exact (Clopper-Pearson) 95 % interval of the share of items that have another score, items taken as independent."""
        from scipy.special import betaincinv

        changed, n = self.changed, self.items
        low = 0.0 if changed == 0 else float(betaincinv(changed, n - changed + 1, 0.025))
        return low, 1.0 if changed == n else float(betaincinv(changed + 1, n - changed, 0.975))

    def sentence(self, run: str) -> str:
        """What was found of `run`, for people."""
        low, high = self.interval
        logliks = (
            ""
            if self.loglik_mean is None
            else f"; log-likelihoods differ by {self.loglik_mean:.2g} on average, {self.loglik_largest:.2g} at most"
        )
        return (
            f"{run!r} was computed in {self.dtype}. Of {self.items:,} items that were asked in float32 too, {self.changed} have another "
            f"score ({self.lost} lost, {self.gained} gained; {self.changed / self.items:.1%}, 95 % interval {low:.1%} to {high:.1%}) and "
            f"{self.answers_changed} another answer{logliks}."
        )
