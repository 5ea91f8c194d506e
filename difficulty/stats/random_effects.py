"""The mean over families (or models) like these: random effects with Hartung and Knapp's interval.

Each of K families has an effect y_i with variance v_i; the true effects vary between families with variance tau^2. The
estimate is the mean of y_i with weights 1 / (v_i + tau^2), its interval is that of Student's t on K - 1 degrees of freedom.

tau^2 is Paule and Mandel's: the one at which sum_i w_i (y_i - mean)^2 = K - 1, or 0 where that sum is smaller at 0 already.
The same figures as R's metafor: `rma(yi, vi, method = "PM", test = "adhoc")` and `predict` of it.

References: Paule & Mandel 1982, J Res NBS 87:377; DerSimonian & Kacker 2007, Contemp Clin Trials 28:105; Hartung & Knapp 2001,
Stat Med 20:3875; Sidik & Jonkman 2002, Stat Med 21:3153.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from difficulty.stats.result import Floats

# A variance of at most this share of the largest (a thousandth of its standard error) is rounding: no error was seen.
_NONE_SEEN = 1e-6
_SOLVED = 1e-14  # a step of Newton's of this share of tau^2 is rounding
_STEPS = 200  # tau^2 at most doubles from a start far below it: this reaches any ratio of variances that is not `_NONE_SEEN`


@dataclass(frozen=True)
class RandomEffects:
    """The mean over `n` families and how much they differ; every number in the unit of the effects, or its square.

    `p` is two-sided against 0, with `df` = n - 1. `tau2`: the variance of the true effects; `i2`, 0 to 1: its share of the
    variance of a typical observed effect; `q`, `q_p`: Cochran's test that all true effects are equal. A further family's
    true effect is expected within `prediction_low` to `prediction_high`.
    """

    estimate: float
    standard_error: float
    ci_low: float
    ci_high: float
    p: float
    df: int
    tau2: float
    i2: float
    q: float
    q_p: float
    prediction_low: float
    prediction_high: float
    n: int


def random_effects(effects: Floats, variances: Floats, confidence: float = 0.95) -> RandomEffects:
    """Random-effects mean of `effects` (K,) with `variances` (K,), their squared standard errors; K of 2 or more.

    The factor by which Hartung and Knapp scale the squared standard error, q = sum_i w_i (y_i - mean)^2 / (K - 1), is never
    taken below 1. It is 1 wherever tau^2 > 0; where tau^2 = 0 it would make the interval narrower than that of families that
    are known to be equal, down to nothing for equal effects. This is metafor's `test = "adhoc"` (Knapp & Hartung 2003,
    Stat Med 22:2693; Jackson et al. 2017, Stat Med 36:3923), a choice: intervals are somewhat wide where families hardly
    differ.

    The prediction interval is mean ± t sqrt(tau^2 + SE^2), as Higgins, Thompson & Spiegelhalter 2009, JRSS A 172:137, eq. 12,
    but with t on K - 1 degrees of freedom and the standard error above, which is what metafor's `predict` does: it is the
    confidence interval where tau^2 = 0. I^2 is tau^2 / (tau^2 + s^2) with the typical variance s^2 of Higgins & Thompson 2002,
    Stat Med 21:1539, eq. 9, as metafor has it.

    A variance of 0 (no answer flipped) is an error that was too small to be seen, not none: it is set to the smallest of
    those that were seen, so that such a family counts as much as the surest of the others. Where none was seen, all weights
    are equal and the interval is the t interval of the effects alone.

    Raises:
        ValueError: one effect, shapes that differ, a value that is not finite, a negative variance, or equal effects of which
            none has an error.
    """
    y, v = _checked(effects, variances, confidence)
    k = len(y)
    if not v.any():
        v = np.full(k, 1e-9 * float(np.var(y, ddof=1)))  # equal weights; tau^2 makes up for it
    tau2, w = _between(y, v), 1 / v
    weights = 1 / (v + tau2)
    mean = float(weights @ y / weights.sum())
    scale = float(weights @ (y - mean) ** 2) / (k - 1)
    error = float(np.sqrt(max(1.0, scale) / weights.sum()))
    typical = (k - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum())
    q = float(w @ (y - (w @ y) / w.sum()) ** 2)
    t = float(special.stdtrit(k - 1, (1 + confidence) / 2))
    further = float(np.hypot(error, np.sqrt(tau2)))
    return RandomEffects(
        estimate=mean,
        standard_error=error,
        ci_low=mean - t * error,
        ci_high=mean + t * error,
        p=float(2 * special.stdtr(k - 1, -abs(mean) / error)),
        df=k - 1,
        tau2=tau2,
        i2=float(tau2 / (tau2 + typical)),
        q=q,
        q_p=float(special.chdtrc(k - 1, q)),
        prediction_low=mean - t * further,
        prediction_high=mean + t * further,
        n=k,
    )


def _checked(effects: Floats, variances: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Both as floats, a variance that was not seen set to the smallest that was; all 0 where none was seen."""
    y, v = np.asarray(effects, dtype=float), np.asarray(variances, dtype=float)
    if y.ndim != 1 or y.shape != v.shape:
        raise ValueError(f"one variance per effect is needed; got shapes {y.shape} and {v.shape}")
    if len(y) < 2:
        raise ValueError(f"random effects need 2 or more effects; got {len(y)}: nothing is known of others")
    if not (np.isfinite(y).all() and np.isfinite(v).all()):
        raise ValueError("effects and variances must be finite")
    if (v < 0).any():
        raise ValueError(f"a variance cannot be negative; got {v.min():g}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1; got {confidence:g}")
    if not v.any() and np.ptp(y) == 0:
        raise ValueError(
            "effects that are all equal, none with an error, say nothing of how sure their mean is"
        )
    seen = v > _NONE_SEEN * v.max()
    return y, np.where(seen, v, v[seen].min(initial=v.max()))


def _between(y: Floats, v: Floats) -> float:
    """Paule and Mandel's tau^2: the root of F(tau^2) = sum w (y - mean)^2 - (K - 1), or 0 where F(0) <= 0.

    Newton's iteration from 0 (DerSimonian & Kacker 2007, eq. 10): F falls and is convex, so that each step goes up to the root and
    never past it, but for rounding.
    """
    tau2 = 0.0
    for _ in range(_STEPS):
        w = 1 / (v + tau2)
        apart = (y - (w @ y) / w.sum()) ** 2
        step = float((w @ apart - (len(y) - 1)) / (w**2 @ apart)) if apart.any() else 0.0
        if not step > _SOLVED * tau2:
            break
        tau2 += step
    return tau2
