"""A cross-check by another road: logistic regression of right answers with cluster-robust errors."""

from __future__ import annotations

import numpy as np
from scipy import special

from difficulty.stats.bootstrap import cluster_sums
from difficulty.stats.result import Estimate, Floats, Ints

_STEPS = 50


def interaction(
    right: Floats, level: Floats, tier: Floats, clusters: Ints, confidence: float = 0.95
) -> Estimate | None:
    """Coefficient of level x tier in logit P(right) = a + b level + c tier + d level tier: log-odds per unit of each.

    Negative d: accuracy falls more steeply in harder tiers. All arguments have one entry an answer, `right` in [0, 1].
    Logistic GEE with independent working correlation, errors by the CR1 sandwich over clusters. None where the fit does
    not converge (a tier all right or all wrong).
    Reference: Liang & Zeger 1986; statsmodels GEE gives the same numbers (see the test).
    """
    design = np.column_stack([np.ones_like(level), level, tier - tier.mean(), level * (tier - tier.mean())])
    fitted = _irls(design, right)
    if fitted is None:
        return None
    beta, bread = fitted
    _, codes = np.unique(clusters, return_inverse=True)
    groups = int(codes.max()) + 1
    residual = right - special.expit(design @ beta)
    scores = cluster_sums(design * residual[:, None], codes, groups)
    covariance = bread @ (scores.T @ scores) @ bread * (groups / (groups - 1))
    if not covariance[3, 3] > 0:
        return None
    error = float(np.sqrt(covariance[3, 3]))
    half = float(special.ndtri((1 + confidence) / 2)) * error
    d = float(beta[3])
    return Estimate(d, d - half, d + half, float(2 * special.ndtr(-abs(d) / error)), len(right), groups)


def _irls(design: Floats, right: Floats) -> tuple[Floats, Floats] | None:
    """Maximum-likelihood coefficients and the inverse information, by Newton's method."""
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        mean = special.expit(design @ beta)
        weight = mean * (1 - mean)
        try:
            bread = np.linalg.inv(design.T @ (design * weight[:, None]))
        except np.linalg.LinAlgError:
            return None
        step = bread @ (design.T @ (right - mean))
        beta = beta + step
        if not np.isfinite(beta).all() or np.abs(beta).max() > 1e3:
            return None
        if np.abs(step).max() < 1e-10:
            return beta, bread
    return None
