"""The noise floor: what two evaluations of the same dense weights differ by, in other batches and another order.

Padding, batches and kernels change the last digits of log-likelihoods, and so the answer of an item whose options are close.
A difference from dense that is no larger than that says nothing of compression.

The floor of a mean over n items is `max(|mean of the differences|, mean of the |differences|)`. For right-or-wrong items the second
is the share of items that changed, so that items that flip in both directions count though they leave the mean where it was.
By the triangle inequality the second is never the smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from difficulty.runs.metrics import choose_one, scale_of
from difficulty.runs.part import Part
from difficulty.runs.same import different_prompts
from difficulty.runs.table import DENSE, MARGIN, NOISE_FLOOR, WEIGHT
from difficulty.stats.mean import Scale, in_nats_or_units, read_on

if TYPE_CHECKING:
    from difficulty.stats.result import Floats

_ITEM = ["task", "metric", "item_id"]
_ROUNDING = 1e-9  # relative: a difference that is the floor but for its last digits is within it

# A task or a family by name, a tier of a family, or any cells of the tidy table that tasks share, e.g. {"tier": 3}.
Where = str | tuple[str, int] | Mapping[str, object]


@dataclass(frozen=True)
class Floor:
    """How two evaluations of the same weights differ on some items of one metric, as sums that add up over items.

    `changed`: items of another value, of `n_items`. `largest`: the largest |difference| of an item, in the units of the tidy table
    (nats per unit for perplexity). `weight`: sum of w; `value`: sum of w v in the first evaluation; `moved`: sum of w (v' - v);
    `spread`: sum of w |v' - v|. Without weights w is 1.
    """

    n_items: int
    changed: int
    largest: float
    weight: float
    value: float
    moved: float
    spread: float
    scale: Scale = "mean"

    @classmethod
    def of(cls, first: Floats, second: Floats, weights: Floats | None = None, scale: Scale = "mean") -> Floor:
        """The floor of items that scored `first` and then `second`, arrays of shape (n_items,)."""
        w = np.ones(len(first)) if weights is None else weights
        v, change = in_nats_or_units(first, scale), in_nats_or_units(second - first, scale)
        size = np.abs(change)
        return cls(
            len(v), int((size > 0).sum()), float(size.max(initial=0.0)), float(w.sum()), float((w * v).sum()),
            float((w * change).sum()), float((w * size).sum()), scale,
        )  # fmt: skip

    @property
    def difference(self) -> float:
        """The second evaluation's mean (or perplexity, or bits) less the first's."""
        return self._shifted(self.moved)

    @property
    def mean_change(self) -> float:
        """The mean |difference| of the items; for a perplexity, by how much it would rise if all of them had the same sign."""
        return self._shifted(self.spread)

    @property
    def size(self) -> float:
        """The largest difference of means that counts as noise."""
        return max(abs(self.difference), self.mean_change)

    def within(self, difference: float) -> bool:
        """Whether a difference of means is no larger than the floor. Nothing is, where the two evaluations are identical."""
        return bool(self.size > 0 and abs(difference) <= self.size * (1 + _ROUNDING))

    def _shifted(self, total: float) -> float:
        if self.weight == 0 or total == 0:
            return 0.0
        mean = self.value / self.weight
        return read_on(mean + total / self.weight, self.scale) - read_on(mean, self.scale)


def pool(floors: Iterable[Floor | None]) -> Floor | None:
    """The floor of all their items together; None where one of them is unknown, there is none, or their scales differ."""
    known = list(floors)
    if not known or None in known or len({floor.scale for floor in known if floor}) > 1:
        return None
    found = cast("list[Floor]", known)
    return Floor(
        sum(f.n_items for f in found), sum(f.changed for f in found), max(f.largest for f in found),
        math.fsum(f.weight for f in found), math.fsum(f.value for f in found), math.fsum(f.moved for f in found),
        math.fsum(f.spread for f in found), found[0].scale,
    )  # fmt: skip


@dataclass(frozen=True)
class NoiseFloor:
    """The floors of one `model`: (task, metric) -> `Floor`, the margin being a metric as in the tidy table.

    `places`: task -> {"family", "axis", "tier"}. `items`: task, metric, item_id, `first`, `second`, `weight`, of the items that both
    evaluations have; empty where only the sums are known.
    """

    model: str
    floors: Mapping[tuple[str, str], Floor]
    places: Mapping[str, Mapping[str, object]]
    items: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)

    def floor(self, task: str, metric: str | None = None) -> Floor | None:
        """The floor of one task by `metric`, or by the one that it is judged by; None where it is unknown."""
        present = [name for known, name in self.floors if known == task]
        scored = [name for name in present if name != MARGIN or metric == MARGIN]
        chosen = choose_one(scored or present, metric) if present else None
        return None if chosen is None else self.floors[task, chosen]

    def over(self, tasks: Iterable[str], metrics: Mapping[str, str] | str | None = None) -> Floor | None:
        """The floor of the items of several tasks together; `metrics` is one for all, or task -> metric. None: unknown."""
        named = metrics if isinstance(metrics, Mapping) else {}
        every = None if isinstance(metrics, Mapping) else metrics
        return pool(self.floor(task, named.get(task, every)) for task in tasks)

    def at(self, where: Where, metric: str | None = None) -> Floor | None:
        """The floor of a task, a family, a tier of a family (family, tier), or the tasks that have certain cells."""
        if isinstance(where, str):
            where = {"task": where} if where in self.places else {"family": where}
        elif isinstance(where, tuple):
            where = {"family": where[0], "tier": where[1]}
        cells = where
        tasks = [
            task
            for task, place in self.places.items()
            if all({**place, "task": task}.get(name) == value for name, value in cells.items())
        ]
        return self.over(tasks, metric)

    def within(self, where: Where, metric: str | None, difference: float) -> bool | None:
        """Whether a difference of means in `where` is no larger than the floor; None where the floor is not known."""
        found = self.at(where, metric)
        return None if found is None else found.within(difference)

    def among(self, task: str, metric: str, items: Iterable[str]) -> Floor | None:
        """The floor of some items of one task; None where one of them was not evaluated twice."""
        wanted = set(items)
        if (task, metric) not in self.floors or self.items.empty:
            return None
        rows = self.items[(self.items["task"] == task) & (self.items["metric"] == metric)]
        rows = rows[rows["item_id"].isin(wanted)]
        if not wanted or len(rows) < len(wanted):
            return None
        return _floor(rows, self.floors[task, metric].scale)

    @property
    def identical(self) -> bool:
        """Whether the two evaluations agree to the last bit on every item, margins included."""
        return all(floor.changed == 0 for floor in self.floors.values())

    def sentence(self) -> str:
        """What the two evaluations differ by, for a reader."""
        judged = [(task, self.floor(task)) for task in self.places]
        known = [floor for _, floor in judged if floor is not None]
        changed, total = sum(floor.changed for floor in known), sum(floor.n_items for floor in known)
        largest = max((floor.size for floor in known), default=0.0)
        margins = [floor for (_, name), floor in self.floors.items() if name == MARGIN]
        text = f"noise floor of {self.model}: {changed:,} of {total:,} items scored otherwise in the second evaluation of the dense weights"
        text += f", at most {largest:.4g} in a task" if changed else ""
        if margins:
            text += f"; margins moved by up to {max(floor.largest for floor in margins):.2g}"
        return text + "."


def noise_floor(dense: pd.DataFrame, again: pd.DataFrame) -> NoiseFloor | None:
    """The floor from the tidy rows of a dense run and of its second evaluation; None where they have no item in common."""
    columns = [*_ITEM, "value", *(name for name in (WEIGHT, "scale") if name in dense)]
    both = dense[columns].merge(again[[*_ITEM, "value"]], on=_ITEM, suffixes=("", "_again"))
    if both.empty:
        return None
    both = both.rename(columns={"value": "first", "value_again": "second"})
    floors = {
        (str(task), str(metric)): _floor(rows, scale_of(rows))
        for (task, metric), rows in both.groupby(["task", "metric"], sort=False)
    }
    facts = dense[dense["task"].isin(both["task"].unique())].drop_duplicates("task")
    places = {
        str(row.task): {"family": str(row.family), "axis": str(row.axis), "tier": int(cast(Any, row.tier))}
        for row in facts.itertuples()
    }
    return NoiseFloor(str(dense["model"].iloc[0]), floors, places, both)


def _floor(rows: pd.DataFrame, scale: Scale) -> Floor:
    weights = rows[WEIGHT].to_numpy(dtype=float) if WEIGHT in rows else None
    weights = None if weights is None or np.isnan(weights).any() else weights
    first, second = (rows[name].to_numpy(dtype=float) for name in ("first", "second"))
    return Floor.of(first, second, weights, scale)


def noise_floors(table: pd.DataFrame, again: pd.DataFrame) -> tuple[dict[str, NoiseFloor], list[str]]:
    """Model -> its floor, from the rows of judged runs and of second evaluations; and why one of these is of no use."""
    found: dict[str, NoiseFloor] = {}
    notes: list[str] = []
    for name, rows in again.groupby("model", sort=False):
        model = str(name)
        dense = table[(table["model"] == model) & (table["method"] == DENSE) & table["bits"].isna()]
        dense = dense[dense["run"] == dense["run"].iloc[0]] if len(dense) else dense
        why = "there is no dense run to compare it with" if dense.empty else _other_prompts(dense, rows)
        floor = None if why else noise_floor(dense, rows)
        if floor is None:
            notes.append(
                f"the noise floor of {model} is not used: {why or 'it has no item of the dense run'}."
            )
        else:
            found[model] = floor
    return found, notes


def _other_prompts(dense: pd.DataFrame, again: pd.DataFrame) -> str | None:
    asked = "prompt_hash" in dense and "prompt_hash" in again
    return "it was asked with other prompts" if asked and different_prompts(dense, again) else None


def take_apart(
    parts: list[Part], rows: pd.DataFrame, warnings: list[str]
) -> tuple[list[Part], pd.DataFrame, pd.DataFrame | None]:
    """The parts and rows to judge, and the rows of second evaluations of dense weights; None where there is none.

    A second evaluation that is all there is can be shown and compared like any run, and a warning says what it is.
    """
    if NOISE_FLOOR not in rows:
        return parts, rows, None
    second = rows[NOISE_FLOOR].to_numpy(dtype=bool)
    rows = rows.drop(columns=NOISE_FLOOR)
    judged = [part for part in parts if not part.run.noise_floor]
    if not judged:
        name = str(parts[0].run)
        warnings.append(
            f"{name!r} is a second evaluation of the dense weights (a noise floor), read by itself."
        )
        return parts, rows, None
    if not second.any():
        return judged, rows, None
    table, again = (part.reset_index(drop=True) for part in (rows[~second], rows[second]))
    again = again[~again["model"].isin(_other_weights(parts, warnings))].reset_index(drop=True)
    return judged, table, again if len(again) else None


def _other_weights(parts: Sequence[Part], warnings: list[str]) -> list[str]:
    """The models whose second evaluation is of other weights than their dense run, by the hashes; each is told."""
    hashes = {
        (p.run.model, p.run.noise_floor): p.facts.get("weights_sha256") for p in parts if p.run.is_dense
    }
    others = [
        m
        for m, again in hashes
        if again and (first := hashes.get((m, False))) and hashes[m, True] not in (None, first)
    ]
    warnings += [
        f"the noise floor of {m} is not used: it is of other weights than the dense run." for m in others
    ]
    return others


def mark(
    cells: pd.DataFrame, noise: NoiseFloor | None, metric: str | None = None, column: str = "loss"
) -> pd.Series[bool]:
    """True for each row of `cells` (family, tier, method, and `column`) whose difference from dense is within the floor.

    `column` is "loss" (by `metric`, or by the one that each task is judged by) or "latent_loss", which is compared with the
    margins' floor. False for dense rows, and where the floor is not known.
    """
    by = MARGIN if column == "latent_loss" else metric
    floors = {
        (family, tier): None if noise is None else noise.at((str(family), int(tier)), by)
        for family, tier in cells[["family", "tier"]].drop_duplicates().itertuples(index=False)
    }
    marked = [
        row[2] != DENSE and (floor := floors[row[0], row[1]]) is not None and floor.within(float(row[3]))
        for row in cells[["family", "tier", "method", column]].itertuples(index=False, name=None)
    ]
    return pd.Series(marked, index=cells.index, dtype=bool, name="within_noise")
