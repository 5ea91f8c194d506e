"""What a simulated world is.

Item i of family f and tier t has an easiness: that of its tier, `easiness - step (t - 1)`, plus a draw of SD `spread`. A run
lowers it by a loss and adds noise; what is left is the item's margin in log-odds, and the answer is right where that is above 0.
The loss at level k of an arm is, in log-odds,

    losses[k] (1 + share (t - mean t)) + (u_f + v_r) (t - mean t) losses[k] / mean(losses)

with u_f ~ N(0, family_sd) of the family and v_r ~ N(0, replicate_sd) of the replicate, so that the slope of the loss on the
tier, averaged over levels, is `share mean(losses)` in truth (`true_slope`). With the default spread and noise the SD of a
margin within a tier is 1.702 in every run. Then margins, margins over their SD times 1.702 and the probit of the accuracy
times 1.702 are one scale (1.702: the constant that brings the normal distribution nearest to the logistic one).

All else is what may be wrong with data: see the fields of `World`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from difficulty.errors import UsageError
from difficulty.stats.result import Floats

Shape = Literal["normal", "logistic", "t3", "cloglog", "loglog"]
LOGISTIC = 1.702
_MARK = 0.5  # log-odds lost at the critical level: `Rules.delta_latent`


@dataclass(frozen=True)
class Arm:
    """One method at several levels, and what it costs.

    `method`: as `difficulty.runs.identity.Method` writes it; recovered models too, e.g. "magnitude+sparse_transfer".
    `levels`: sparsities. `bits`: nominal bits in their place, for a quantizer. `losses`: log-odds that the average tier loses at
    each; below 0 is a gain. `share`: part of the mean loss that every tier up adds. `replicates`, `replicate_sd`: draws of the
    mask, calibration or training, and the SD over them of the slope on the tier (log-odds per tier, averaged over levels, the same
    in all families and at all levels of a draw).
    `critical`: if given, the sparsity at which each tier loses 0.5 log-odds, and `losses`, `share` do not count: tier t loses
    top (1 - exp(-k (level / critical[t])^power)) with k such that this is 0.5 at the critical level.
    """

    method: str = "magnitude"
    levels: tuple[float, ...] = (0.3, 0.5, 0.7)
    losses: tuple[float, ...] = (0.5, 1.0, 1.5)
    share: float = 0.0
    bits: tuple[float, ...] = ()
    replicates: int = 1
    replicate_sd: float = 0.0
    critical: tuple[float, ...] = ()
    top: float = 18.0
    power: float = 6.0

    def __post_init__(self) -> None:
        places = self.bits or self.levels
        if not places or (not self.critical and len(places) != len(self.losses)):
            raise UsageError(
                f"arm {self.method!r} has {len(places)} levels and {len(self.losses)} losses. Give one loss for each level."
            )
        if self.replicates < 1:
            raise UsageError(f"arm {self.method!r} has {self.replicates} replicates. Give 1 or more.")
        if self.critical and (self.bits or min(self.critical) <= 0 or self.top <= _MARK):
            raise UsageError(
                f"arm {self.method!r}: critical levels are sparsities above 0 of a loss that passes {_MARK} log-odds. Give levels, "
                f"not bits, and top above {_MARK}."
            )

    @property
    def places(self) -> tuple[float, ...]:
        """The levels, or the bits of a quantizer."""
        return self.bits or self.levels

    @property
    def weights(self) -> Floats:
        """Each level's loss over the mean loss, shape (n_levels,); 1 where nothing is lost."""
        losses = np.array(self.losses if not self.critical else (1.0,) * len(self.places))
        mean = float(losses.mean())
        return losses / mean if mean else np.ones(len(losses))

    def tier_losses(self, n_tiers: int) -> Floats:
        """Log-odds lost in truth by the average family and replicate, shape (n_levels, n_tiers)."""
        if self.critical:
            if len(self.critical) != n_tiers:
                raise UsageError(
                    f"arm {self.method!r} has {len(self.critical)} critical levels for {n_tiers} tiers. Give one for each."
                )
            k = -math.log1p(-_MARK / self.top)
            ratio = np.array(self.levels)[:, None] / np.array(self.critical)
            critical: Floats = -self.top * np.expm1(-k * ratio**self.power)
            return critical
        losses: Floats = np.array(self.losses)[:, None] * (1 + self.share * centred(n_tiers))
        return losses

    @property
    def true_slope(self) -> float:
        """Slope of the loss on the tier in truth, log-odds per tier, averaged over levels."""
        return self.share * float(np.mean(self.losses))


@dataclass(frozen=True)
class Cut:
    """Tiers that are cut, in each family, from the margins of a run of this very model, instead of being given.

    `run`: the column that they are cut from, 0 the dense one, k the k-th run of the first arm (its replicates in turn). `noise`: SD
    of a noise that is added before cutting. `fresh`: cut from another evaluation of it, whose own noise is drawn anew.
    """

    run: int = 0
    noise: float = 0.0
    fresh: bool = False


@dataclass(frozen=True)
class World:
    """Families, tiers, items, arms, and what is wrong with the data (nothing by default).

    `shape`, `noise_shape`: distributions of easiness and noise around their tier's mean, all of the SD that is asked for: cloglog
    and loglog are Gumbel's of the minimum and of the maximum. `spreads`, `discriminations`: factors of the spread, and of
    all margins, by tier. `sharpen`: factor of the margins at an arm's highest level, 1 at dense and linear between. `noise_growth`:
    added to the noise's SD at the highest level. `own`: how the loss depends on the item's easiness within its tier, as a share of
    the mean loss for each SD. `cluster_sd`: the part of the noise that the items of a cluster share,
    in all compressed runs alike. `outliers`: share of each family's items, in the
    hardest tier, whose margins lie 200 lower in every compressed run. `clip`: largest absolute margin. `symbols`: answer symbols
    by tier, whose margins differ by SD 0.8; an answer is right where all are, and its margin is the mean over them.
    `family_sd`: SD over families of the slope on the tier. `shared`: so many families in turn ask the same questions.
    `per_cluster`: items of a tier that share a cluster. `cut`: see `Cut`. `guessing`: tiers where the model only guesses.
    `margins`: whether they are logged.
    """

    arms: tuple[Arm, ...] = (Arm(),)
    families: int = 6
    tiers: int = 4
    items: int = 200
    easiness: float = 2.4
    step: float = 0.6
    spread: float = math.sqrt(LOGISTIC**2 - 0.36)
    noise: float = 0.6
    shape: Shape = "normal"
    noise_shape: Shape = "normal"
    spreads: tuple[float, ...] = ()
    discriminations: tuple[float, ...] = ()
    sharpen: float = 1.0
    noise_growth: float = 0.0
    own: float = 0.0
    cluster_sd: float = 0.0
    outliers: float = 0.0
    clip: float = math.inf
    symbols: tuple[int, ...] = ()
    family_sd: float = 0.0
    shared: int = 1
    per_cluster: int = 1
    cut: Cut | None = None
    guessing: tuple[int, ...] = ()
    chance: float = 0.0
    margins: bool = True
    model: str = "simulated"

    def __post_init__(self) -> None:
        for name in ("families", "tiers", "items", "shared", "per_cluster"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)} of a simulated world is not 1 or more.")
        for name in ("spreads", "discriminations", "symbols"):
            given = getattr(self, name)
            if given and len(given) != self.tiers:
                raise UsageError(
                    f"{name} has {len(given)} values for {self.tiers} tiers. Give one for each tier."
                )
        for name in ("spread", "noise", "cluster_sd", "family_sd", "noise_growth"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"{name}={getattr(self, name)} of a simulated world is an SD and cannot be below 0."
                )
        if self.cluster_sd > self.noise:
            raise UsageError(
                f"cluster_sd={self.cluster_sd} is a part of the noise and cannot be above noise={self.noise:g}."
            )
        if not self.arms or not 0 <= self.chance < 1:
            raise UsageError("a simulated world needs an arm, and a chance level from 0 to below 1.")
        if (
            self.cut is not None
            and not 0 <= self.cut.run <= len(self.arms[0].places) * self.arms[0].replicates
        ):
            raise UsageError(
                f"tiers cannot be cut from run {self.cut.run}: 0 is the dense one, and the first arm has "
                f"{len(self.arms[0].places) * self.arms[0].replicates}."
            )
        for arm in self.arms:
            arm.tier_losses(self.tiers)

    def with_arm(self, **changes: object) -> World:
        """The same with its first arm changed."""
        return replace(self, arms=(replace(self.arms[0], **changes), *self.arms[1:]))  # type: ignore[arg-type]

    def accuracies_only(self) -> World:
        """The same without margins. What changes margins and no answer is left out, so that equal worlds compare equal."""
        return replace(self, margins=False, discriminations=(), sharpen=1.0, clip=math.inf)

    def accuracy(self, loss: float = 0.0) -> float:
        """Mean accuracy over tiers where every tier has lost `loss` log-odds; of normal easiness and noise."""
        from scipy.special import ndtr

        place = self.easiness - self.step * np.arange(self.tiers) - loss
        right = ndtr(place / math.hypot(self.spread, self.noise))
        return float(np.mean(self.chance + (1 - self.chance) * right))


def centred(n_tiers: int) -> Floats:
    """Tier numbers less their mean, shape (n_tiers,)."""
    return np.arange(n_tiers, dtype=np.float64) - (n_tiers - 1) / 2
