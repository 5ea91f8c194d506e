"""Drawing from a world: `simulate` gives a panel, `tidy` the same numbers as a table."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from difficulty.judge.panel import Panel
from difficulty.runs.table import DENSE, MARGIN, run_name
from difficulty.simulate.world import Arm, Shape, World, centred
from difficulty.stats.result import Bools, Floats, Ints

_OUTLIER = 200.0  # log-odds
_SYMBOL_SD = 0.8  # log-odds between the symbols of an answer
_GUESS = (-0.8, 1.0)  # mean and SD of the margins of one who guesses among several options
_EULER = float(np.euler_gamma)
RUN_ORDER = ("dense", "method", "level", "bits", "replicate", "run")


@dataclass(frozen=True)
class _Run:
    """A column to be: its arm and level, None for dense."""

    method: str
    level: float
    bits: float
    replicate: int
    arm: int = -1
    at: int = -1

    @property
    def dense(self) -> bool:
        return self.arm < 0


@dataclass(frozen=True)
class _Items:
    """Where the items belong, each (n_items,), families in order and tiers in order within them."""

    family: Ints
    tier: Ints  # from 0
    question: Ints  # the same in families that ask the same questions
    cluster: Ints
    z: Floats = field(repr=False)  # easiness within its tier, SD 1 unless the tiers differ in it
    easiness: Floats = field(repr=False)


def simulate(world: World, seed: int) -> Panel:
    """A panel drawn from `world`; items, runs and their order are those that `build_panel(tidy(world, seed))` gives.

    Every aspect has its own stream of random numbers, so that worlds that differ in one share the draws of the others.
    """
    items, columns = _items(world, seed), _columns(world)
    margin = np.column_stack([_margin(world, seed, items, run) for run in columns])
    tier = items.tier if world.cut is None else _cut(world, seed, items, margin)
    margin, right = _answers(world, seed, items, margin, columns)
    order = np.lexsort((np.arange(len(tier)), tier, items.family))
    runs = pd.DataFrame(
        {
            "run": [run_name(world.model, r.method, r.level, r.bits, r.replicate) for r in columns],
            "model": world.model,
            "method": [r.method for r in columns],
            "level": [r.level for r in columns],
            "bits": [r.bits for r in columns],
            "replicate": [r.replicate for r in columns],
            "dense": [r.dense for r in columns],
        }
    )
    ranked = runs.sort_values(list(RUN_ORDER), ascending=[False, True, True, False, True, True])
    place = np.ix_(order, ranked.index.to_numpy())
    return Panel(
        world.model,
        _frame(world, items, tier).iloc[order].reset_index(drop=True),
        ranked.reset_index(drop=True),
        right[place].astype(float),
        margin[place],
        np.full(margin.shape, np.nan),
        ("acc",),
        margin.size * (2 if world.margins else 1),
    )


def tidy(world: World, seed: int) -> pd.DataFrame:
    """The same draw as a tidy table: a row for each item, run and metric ("acc", and "margin" where logged)."""
    panel = simulate(world, seed)
    symbols = np.array(world.symbols or (1,) * world.tiers)
    items = panel.items.assign(n_symbols=symbols[panel.items["tier"].to_numpy() - 1])
    parts = []
    for column, run in enumerate(panel.runs.to_dict("records")):
        identity = {name: run[name] for name in ("run", "model", "method", "level", "bits", "replicate")}
        for metric, values in (("acc", panel.score), (MARGIN, panel.margin)):
            if metric == MARGIN and not world.margins:
                continue
            parts.append(items.assign(**identity, metric=metric, value=values[:, column]))
    return pd.concat(parts, ignore_index=True)


def family_slopes(world: World, seed: int) -> Floats:
    """u_f, the families' own slopes on the tier beside the arm's, log-odds per tier, shape (families,)."""
    drawn: Floats = world.family_sd * _stream(seed, "families").normal(size=world.families)
    return drawn


def replicate_slopes(world: World, seed: int, arm: int = 0) -> Floats:
    """v_r, the replicates' own slopes on the tier beside the arm's, log-odds per tier, shape (replicates,)."""
    of = world.arms[arm]
    drawn = [_stream(seed, "replicate", of.method, r).normal() for r in range(of.replicates)]
    slopes: Floats = of.replicate_sd * np.array(drawn)
    return slopes


def _stream(seed: int, *aspect: object) -> np.random.Generator:
    """Random numbers of one aspect of one draw."""
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, aspect)).encode())])


def _standard(g: np.random.Generator, shape: Shape, size: int) -> Floats:
    """Draws of mean 0 and SD 1."""
    if shape == "normal":
        return g.normal(size=size)
    if shape == "logistic":
        return g.logistic(0, np.sqrt(3) / np.pi, size)
    if shape == "t3":
        heavy: Floats = g.standard_t(3, size) / np.sqrt(3)
        return heavy
    gumbel: Floats = (g.gumbel(size=size) - _EULER) * np.sqrt(6) / np.pi
    return -gumbel if shape == "cloglog" else gumbel


def _items(world: World, seed: int) -> _Items:
    each = world.tiers * world.items
    family = np.repeat(np.arange(world.families), each)
    question = np.tile(np.arange(each), world.families) + each * (family // world.shared)
    tier = question % each // world.items
    z = _standard(_stream(seed, "easiness"), world.shape, int(question.max()) + 1)[question]
    spreads = np.array(world.spreads or (1.0,) * world.tiers)[tier]
    easiness = world.easiness - world.step * tier + world.spread * spreads * z
    # clusters do not cross tiers, as the items of a tier are counted within it
    per_tier = -(-world.items // world.per_cluster)
    cluster = question // world.items * per_tier + question % world.items // world.per_cluster
    return _Items(family, tier, question, cluster, z, easiness)


def _columns(world: World) -> list[_Run]:
    """The runs, the dense one first, the arms in order."""
    return [_Run(DENSE, 0.0, np.nan, 0), *_compressed(world)]


def _compressed(world: World) -> Iterator[_Run]:
    for number, arm in enumerate(world.arms):
        for at, place in enumerate(arm.places):
            level, bits = (np.nan, place) if arm.bits else (place, np.nan)
            for replicate in range(arm.replicates):
                yield _Run(arm.method, level, bits, replicate, number, at)


def _margin(world: World, seed: int, items: _Items, run: _Run) -> Floats:
    """Easiness less the loss, with noise, before anything is wrong with how it is logged."""
    g = _stream(seed, "noise", run.method, run.level, run.bits, run.replicate)
    noise = _standard(g, world.noise_shape, len(items.tier))
    if run.dense:
        return items.easiness + world.noise * noise
    arm = world.arms[run.arm]
    sd = math.sqrt(world.noise**2 - world.cluster_sd**2) + world.noise_growth * _severity(arm, run.at)
    common = _stream(seed, "clusters").normal(size=int(items.cluster.max()) + 1)[items.cluster]
    return items.easiness - _loss(world, seed, items, run) + sd * noise + world.cluster_sd * common


def _loss(world: World, seed: int, items: _Items, run: _Run) -> Floats:
    arm = world.arms[run.arm]
    loss: Floats = arm.tier_losses(world.tiers)[run.at][items.tier]
    mean = float(arm.tier_losses(world.tiers)[run.at].mean())
    slope = family_slopes(world, seed)[items.family]
    slope = slope + replicate_slopes(world, seed, run.arm)[run.replicate]
    weight = arm.weights[run.at]
    loss += slope * weight * centred(world.tiers)[items.tier] + world.own * mean * items.z
    return loss


def _severity(arm: Arm, at: int) -> float:
    """0 at dense, 1 at the arm's most severe level."""
    if arm.bits:
        return (16 - arm.bits[at]) / (16 - min(arm.bits))
    return arm.levels[at] / max(arm.levels) if max(arm.levels) else 0.0


def _answers(
    world: World, seed: int, items: _Items, margin: Floats, columns: list[_Run]
) -> tuple[Floats, Bools]:
    """Margins as they are logged, NaN where they are not, and which answers are right; both (n_items, n_runs)."""
    dense = np.array([run.dense for run in columns])
    if world.outliers:
        margin = margin - _OUTLIER * np.outer(_outliers(world, items), ~dense)
    worst = margin
    if world.symbols:
        count = np.array(world.symbols)[items.tier]
        offsets = _SYMBOL_SD * _stream(seed, "symbols").normal(size=(len(count), max(world.symbols)))
        there = np.arange(max(world.symbols)) < count[:, None]
        worst = margin + np.where(there, offsets, np.inf).min(axis=1, keepdims=True)
        margin = margin + np.where(there, offsets, 0).sum(axis=1, keepdims=True) / count[:, None]
    guessing = np.isin(items.tier + 1, world.guessing)[:, None]
    right = (worst > 0) & ~guessing
    if world.chance:
        right |= _stream(seed, "chance").random(right.shape) < world.chance
    if not world.margins:
        return np.full(margin.shape, np.nan), right
    factors = np.array(world.discriminations or (1.0,) * world.tiers)[items.tier]
    severity = [0.0 if run.dense else _severity(world.arms[run.arm], run.at) for run in columns]
    margin = margin * factors[:, None] * (1 + (world.sharpen - 1) * np.array(severity))
    if world.guessing:
        margin = np.where(guessing, _stream(seed, "guess").normal(*_GUESS, margin.shape), margin)
    return np.clip(margin, -world.clip, world.clip), right


def _outliers(world: World, items: _Items) -> Bools:
    """The first items of each family's hardest tier, as many as asked for."""
    many = round(world.outliers * world.tiers * world.items)
    place = items.question % (world.tiers * world.items) - (world.tiers - 1) * world.items
    flags: Bools = (place >= 0) & (place < many)
    return flags


def _cut(world: World, seed: int, items: _Items, margin: Floats) -> Ints:
    """Tiers of equal size in each family, the easiest items in the first, cut from a run's margins."""
    assert world.cut is not None
    by = margin[:, world.cut.run]
    if world.cut.fresh:
        g = _stream(seed, "fresh")
        run = _columns(world)[world.cut.run]
        loss = 0.0 if run.dense else _loss(world, seed, items, run)
        by = items.easiness - loss + world.noise * _standard(g, world.noise_shape, len(by))
    by = by + world.cut.noise * _stream(seed, "cut").normal(size=len(by))
    tier = np.empty(len(by), dtype=np.int64)
    for f in range(world.families):
        own = items.family == f
        tier[own] = np.argsort(np.argsort(-by[own])) // world.items
    return tier


def _frame(world: World, items: _Items, tier: Ints) -> pd.DataFrame:
    names = [f"f{f:02d}" for f in range(world.families)]
    return pd.DataFrame(
        {
            "task": [f"{names[f]}_t{t + 1:02d}" for f, t in zip(items.family, tier, strict=True)],
            "item_id": [f"{names[f]}i{q:07d}" for f, q in zip(items.family, items.question, strict=True)],
            "family": np.array(names)[items.family],
            "axis": "simulated",
            "tier": tier + 1,
            "cluster_id": [f"c{c:07d}" for c in items.cluster],
            "chance": world.chance,
        }
    )
