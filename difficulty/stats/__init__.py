"""Statistics of what compression costs, one module a family of tests. Arrays in, small frozen results out.

>>> import numpy as np
>>> from difficulty.stats import flips, paired_difference
>>> dense, pruned = np.array([1.0, 1, 1, 0, 1]), np.array([1.0, 0, 1, 1, 0])
>>> flips(dense, pruned).lost
2
"""

from difficulty.stats.bootstrap import (
    cluster_sums,
    expanded_level,
    interval,
    p_value,
    replicate_weights,
    resample_counts,
    summarise,
    weighted_means,
)
from difficulty.stats.divergence import option_kl
from difficulty.stats.flips import Flips, flips
from difficulty.stats.isotonic import crossing, isotonic
from difficulty.stats.logistic import interaction
from difficulty.stats.multiple import holm
from difficulty.stats.paired import clustered_error, equivalence_p, noninferiority_p, paired_difference
from difficulty.stats.result import Estimate
from difficulty.stats.scores import above_chance, latent_from_accuracy, retention, wilson
from difficulty.stats.trend import Trend, jonckheere_terpstra, kendall_tau, page, shuffled_slope

__all__ = [
    "Estimate",
    "Flips",
    "Trend",
    "above_chance",
    "cluster_sums",
    "clustered_error",
    "crossing",
    "equivalence_p",
    "expanded_level",
    "flips",
    "holm",
    "interaction",
    "interval",
    "isotonic",
    "jonckheere_terpstra",
    "kendall_tau",
    "latent_from_accuracy",
    "noninferiority_p",
    "option_kl",
    "p_value",
    "page",
    "paired_difference",
    "replicate_weights",
    "resample_counts",
    "retention",
    "shuffled_slope",
    "summarise",
    "weighted_means",
    "wilson",
]
