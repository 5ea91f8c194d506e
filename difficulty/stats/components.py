"""An estimate whose variance is a sum: items, replicates (masks, calibrations, trainings), families.

Let y_ri = m + a_i + b_r + e_ri be the value of item i under replicate r, n items and K replicates, both drawn by lot. The
mean over all has the variance s_a^2 / n + s_b^2 / K + s_e^2 / (nK). The mean squares of the two-way table expect
E MS_items = s_e^2 + K s_a^2, E MS_replicates = s_e^2 + n s_b^2 and E MS_interaction = s_e^2, so that

    Var(mean) = (MS_items + MS_replicates - MS_interaction) / (nK):

items and replicates both hold the interaction, which is therefore taken off once. `crossed` gives the three parts from
resamples of the items, which serve statistics other than means too; `combined` adds parts up to an interval.

References: Searle, Casella & McCulloch 1992, Variance Components, ch. 4; Owen 2007, Ann Appl Stat 1:386 (the bootstrap of
such a table: resampling one side gives that side's part); Satterthwaite 1946, Biometrics 2:110.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from difficulty.stats.result import Floats

# Up to so many degrees of freedom of a part, Satterthwaite's interval is too short.
_FEW = 2


@dataclass(frozen=True)
class Component:
    """A part of a variance: its `name`, the estimated `variance` on `df` degrees of freedom, added or (-1) subtracted."""

    name: str
    variance: float
    df: float
    sign: int = 1


@dataclass(frozen=True)
class Combined:
    """An estimate with its standard error, t interval and two-sided p against 0; `parts` as given, `df` Satterthwaite's."""

    estimate: float
    standard_error: float
    ci_low: float
    ci_high: float
    p: float
    df: float
    parts: tuple[Component, ...]

    def shares(self) -> dict[str, float]:
        """Name -> share of the variances that are added, summing to 1; a subtracted one is left in those that hold it."""
        total = sum(part.variance for part in self.parts if part.sign > 0)
        return {part.name: part.variance / total for part in self.parts if part.sign > 0}

    def shares_text(self) -> str:
        """E.g. "items 61 %, masks 39 %"."""
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.shares().items())


def combined(estimate: float, parts: Sequence[Component], confidence: float = 0.95) -> Combined:
    """`estimate` with the variance sum_i sign_i v_i of independent `parts`, never below the largest that is added.

    Degrees of freedom: total^2 / sum_i (v_i^2 / df_i) (Satterthwaite 1946). With subtracted parts this is Gaylor & Hopper's
    1969 form (Technometrics 11:691), which they advise where what is subtracted is small beside the rest; the bound on the
    total keeps it from falling apart where it is not.

    Satterthwaite's interval is too short where a part on one or two degrees of freedom is large: simulated, a 95 % interval
    covers down to .88 with two replicates and .92 with three (.94 with five). With such a part the quantile is Cochran's, the
    mean of the parts' own t quantiles weighted by the variances that are added (Cochran & Cox 1957, Experimental Designs, 4.14;
    Cochran 1964, Biometrics 20:191): it covers .93 to .99, and is wide rather than short. `df` stays Satterthwaite's.

    Raises:
        ValueError: no part that is added has a variance above 0, a value is not finite or negative, a df is not above 0, two
            parts have one name, or a sign is not 1 or -1.
    """
    added = _checked(estimate, parts, confidence)
    total = max(sum(part.sign * part.variance for part in parts), *(part.variance for part in added))
    per_df = sum((part.variance / total) ** 2 / part.df for part in parts)
    df = 1 / per_df if per_df > 0 else np.inf
    error = float(np.sqrt(total))
    if any(part.df <= _FEW for part in added):
        weights = np.array([part.variance for part in added])
        scale = _Quantiles(weights / weights.sum(), np.array([part.df for part in added]))
    else:
        scale = _Quantiles(np.ones(1), np.array([df]))
    half = scale.of((1 - confidence) / 2) * error
    return Combined(
        estimate=float(estimate),
        standard_error=error,
        ci_low=float(estimate - half),
        ci_high=float(estimate + half),
        p=scale.p_value(abs(estimate) / error),
        df=float(df),
        parts=tuple(parts),
    )


def crossed(
    y: Floats, boot: Floats, n_clusters: int, items: str = "items", replicates: str = "replicates"
) -> tuple[Component, ...]:
    """The parts of the variance of mean(y): items, replicates and, subtracted, their interaction.

    `y` (K,): the statistic of each replicate; `boot` (K, 1 + n_resamples): its values where the items are resampled, the same
    resamples for all replicates, the sample's own in column 0. `items` and `replicates` are the names that are printed.

    - items: the variance over resamples of the mean over replicates, n - 1 degrees of freedom for n = `n_clusters`;
    - replicates: var(y) / K with K - 1;
    - interaction: the variance over resamples of a replicate's distance from the mean, averaged over replicates, divided by
      K - 1, with (n - 1)(K - 1).

    Variances over resamples are multiplied by n / (n - 1): without end, resamples then give the mean squares over nK exactly.
    One replicate gives the items alone: nothing is known of other replicates. For random families put their part in the place
    of that of the items, `Component("families", r.standard_error**2, r.df)` of `random_effects`; it holds the items.

    Raises:
        ValueError: shapes that differ, fewer than 2 resamples or clusters, or a value that is not finite.
    """
    values, draws = np.asarray(y, dtype=float), np.asarray(boot, dtype=float)
    if values.ndim != 1 or draws.ndim != 2 or len(values) != len(draws) or not len(values):
        raise ValueError(f"one row of resamples per replicate is needed; got {values.shape}, {draws.shape}")
    if draws.shape[1] < 3 or n_clusters < 2:
        raise ValueError(
            f"2 or more resamples and clusters are needed; got {draws.shape[1] - 1}, {n_clusters}"
        )
    if not (np.isfinite(values).all() and np.isfinite(draws).all()):
        raise ValueError("replicates and resamples must be finite")
    k, expand = len(values), n_clusters / (n_clusters - 1)
    mean = draws[:, 1:].mean(axis=0)
    of_items = Component(items, expand * float(mean.var(ddof=1)), n_clusters - 1)
    if k == 1:
        return (of_items,)
    apart = float((draws[:, 1:] - mean).var(axis=1, ddof=1).mean())
    return (
        of_items,
        Component(replicates, float(values.var(ddof=1)) / k, k - 1),
        Component(f"{items} × {replicates}", expand * apart / (k - 1), (n_clusters - 1) * (k - 1), sign=-1),
    )


@dataclass(frozen=True)
class _Quantiles:
    """The mean of t quantiles on `df` (n,) with `weights` (n,) that sum to 1: of one, Student's t itself."""

    weights: Floats
    df: Floats

    def of(self, tail: float) -> float:
        """The value that is exceeded with probability `tail`."""
        return float(self.weights @ -_t_quantile(self.df, tail))

    def p_value(self, statistic: float) -> float:
        """The two-sided p at which the interval ends at 0."""
        own = 2 * special.stdtr(self.df, -statistic)
        if len(own) == 1 or statistic == 0:
            return float(own[0])
        # Every t quantile reaches the statistic at its own p, so the mean of them does between the least and the greatest.
        from scipy import optimize

        low, high = (float(np.log(max(p, 1e-300))) for p in (own.min(), own.max()))
        found = optimize.brentq(lambda p: self.of(np.exp(p) / 2) - statistic, low - 0.01, high + 0.01)
        return float(np.exp(found))


def _t_quantile(df: Floats, tail: float) -> Floats:
    return np.asarray(special.stdtrit(df, tail), dtype=float)  # the normal's at infinite df


def _checked(estimate: float, parts: Sequence[Component], confidence: float) -> list[Component]:
    """The parts that are added, those of no variance left out."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence:g}")
    if not np.isfinite(estimate):
        raise ValueError(f"the estimate must be finite; got {estimate}")
    if len({part.name for part in parts}) < len(parts):
        raise ValueError(f"every part needs a name of its own; got {', '.join(part.name for part in parts)}")
    for part in parts:
        if not (np.isfinite(part.variance) and part.variance >= 0):
            raise ValueError(
                f"the variance of {part.name!r} must be finite and 0 or more; got {part.variance:g}"
            )
        if not part.df > 0 or part.sign not in (1, -1):
            raise ValueError(
                f"{part.name!r} needs df above 0 and a sign of 1 or -1; got {part.df:g}, {part.sign}"
            )
    added = [part for part in parts if part.sign > 0 and part.variance > 0]
    if not added:
        raise ValueError("no part has a variance above 0: an estimate without an error has no interval")
    return added
