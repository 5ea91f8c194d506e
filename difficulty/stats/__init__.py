"""Statistics of what compression costs, one module per family of tests. Arrays in, small frozen results out.

>>> import numpy as np
>>> from difficulty.stats import flips, paired_interval
>>> dense, pruned = np.array([1.0, 1, 1, 0, 1]), np.array([1.0, 0, 1, 1, 0])
>>> flips(dense, pruned).lost
2
"""

from difficulty.stats.betting import Bets, Evidence, confidence_sequence, evidence
from difficulty.stats.bootstrap import (
    cluster_sums,
    expanded_level,
    interval,
    p_value,
    resample_counts,
    summarise,
    weighted_means,
)
from difficulty.stats.components import Combined, Component, combined, crossed
from difficulty.stats.divergence import option_kl
from difficulty.stats.flips import Flips, flips
from difficulty.stats.isotonic import crossing, isotonic
from difficulty.stats.logistic import interaction
from difficulty.stats.mean import MeanInterval, Scale, clustered_error, mean_interval, wilson
from difficulty.stats.multiple import holm
from difficulty.stats.paired import paired_interval
from difficulty.stats.paired_loss import UNBOUNDED_ITEMS, PairedLoss, paired_loss
from difficulty.stats.power import detectable, items_for, most_discordance, power
from difficulty.stats.random_effects import RandomEffects, random_effects
from difficulty.stats.result import Estimate
from difficulty.stats.scales import above_chance, latent_from_accuracy, retention
from difficulty.stats.score import Score, score
from difficulty.stats.sequential import asymptotic_evidence, evidence_of, sequential_evidence
from difficulty.stats.studentized import t_draws
from difficulty.stats.trend import Trend, jonckheere_terpstra, kendall_tau, page, shuffled_slope

__all__ = [
    "UNBOUNDED_ITEMS",
    "Bets",
    "Combined",
    "Component",
    "Estimate",
    "Evidence",
    "Flips",
    "MeanInterval",
    "PairedLoss",
    "RandomEffects",
    "Scale",
    "Score",
    "Trend",
    "above_chance",
    "asymptotic_evidence",
    "cluster_sums",
    "clustered_error",
    "combined",
    "confidence_sequence",
    "crossed",
    "crossing",
    "detectable",
    "evidence",
    "evidence_of",
    "expanded_level",
    "flips",
    "holm",
    "interaction",
    "interval",
    "isotonic",
    "items_for",
    "jonckheere_terpstra",
    "kendall_tau",
    "latent_from_accuracy",
    "mean_interval",
    "most_discordance",
    "option_kl",
    "p_value",
    "page",
    "paired_interval",
    "paired_loss",
    "power",
    "random_effects",
    "resample_counts",
    "retention",
    "score",
    "sequential_evidence",
    "shuffled_slope",
    "summarise",
    "t_draws",
    "weighted_means",
    "wilson",
]
