"""Controls at equal loss: for each level of the primary method, the sparsity of every control that loses as much.

What is random or prunes the largest weights breaks a model at a fraction of the sparsity that magnitude pruning bears. At equal
sparsity such methods share no range of loss, so nothing could be said about *which* weights matter to hard items.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from difficulty.runs.halves import RULE
from difficulty.runs.store import MATCH_LOSS, manifest_path, read_manifest
from junkdna_harness.sweep.later import Later
from junkdna_harness.sweep.losses import Losses
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.search import REACHED, Point, State, Target, falls, known, next_levels
from junkdna_harness.sweep.store import Store

MOST_FAILED = 3  # runs of a control, after which it is given up where none of them could be evaluated


class Matching:
    """The search for one model. What is known follows from the plan and the runs in the store.

    `losses` keeps what was read, by model, for later rounds.
    """

    def __init__(
        self, store: Store, plan: Plan, model: int, later: Later, losses: dict[int, Losses] | None = None
    ) -> None:
        self.store, self.plan, self.model, self.later = store, plan, model, later
        self.cells = [cell for cell in plan.cells if cell.model == model]
        dense = next(cell for cell in self.cells if cell.kind == "dense" and not cell.noise_floor)
        self.ready = self._is_there(dense)
        if self.ready:
            read = {} if losses is None else losses
            if model not in read:
                read[model] = Losses(store.folder, plan.file_name(dense))
            self.losses = read[model]
            self.dense = Point(0.0, 0.0)

    def next_cells(self) -> list[PlannedRun]:
        """The runs of the next round, every draw of each level; none where every search has ended."""
        found: list[PlannedRun] = []
        for control in self.later.controls if self.ready else ():
            points, targets = self.points(control), self.targets(control)
            if _fails(points):
                continue
            taken = {cell.level for cell in self._runs(control)}
            by_target = {id(target): level for level, target in targets.items()}
            for level, sought in next_levels(points, targets.values(), self.dense).items():
                if level in taken:  # evaluated without a loss: its run lacks a task
                    continue
                names = [{"method": self.later.primary, "level": by_target[id(one)]} for one in sought]
                added = {"why": MATCH_LOSS, "round": self._round(), "for": names}
                found += [one.at(level, added) for one in self._templates(control)]
        return found

    def failed(self) -> list[PlannedRun]:
        """The runs of controls that are planned and not there: all have been tried."""
        there = self._is_there
        return [cell for control in self.later.controls for cell in self._runs(control) if not there(cell)]

    def targets(self, control: str) -> dict[float, Target]:
        """Level of the primary method -> the loss that is sought for it, of those that could be measured."""
        found = {}
        for level, loss in self._measured(self.later.primary).items():
            added = [cell for cell in self._runs(control) if _is_for(cell, self.later.primary, level)]
            tolerance = max(self.losses.tolerance, REACHED * loss)
            found[level] = Target(loss, tolerance, len({cell.level for cell in added}))
        return found

    def points(self, control: str) -> list[Point]:
        """The levels of a control that were evaluated, with their mean loss over draws; infinite where a run failed."""
        measured, found = self._measured(control), []
        for level, cells in _by_level(self._runs(control)).items():
            if level in measured:
                found.append(Point(level, measured[level], self._sizes(cells[0])))
            elif not all(map(self._is_there, cells)):
                found.append(Point(level, math.inf))
        return found

    def matches(self) -> list[dict[str, Any]]:
        """What was found for each control and level of the primary method, for the plan's file."""
        found = []
        for control in self.later.controls if self.ready else ():
            points = self.points(control)
            for level, target in self.targets(control).items():
                found.append(self._match(control, level, target, known(points, target, self.dense)))
        return found

    def _match(self, control: str, level: float, target: Target, state: State) -> dict[str, Any]:
        near = state.nearest if state.reached else None
        cells = [] if near is None else [c for c in self._runs(control) if c.level == near.level]
        return {
            "model": self.plan.model_name(self.cells[0]),
            "method": control,
            "matched_to": {"method": self.later.primary, "level": level},
            "target_loss": target.loss,
            "level": None if near is None else near.level,
            "loss": None if near is None else near.loss,
            "runs": [self.plan.run_id(cell) for cell in cells],
            "reached": state.reached,
            "why_not": None if state.reached else state.ended or _why_not(self.points(control)),
            "below": _point(state.below),
            "above": None if state.above is None else _point(state.above),
            "tolerance": target.tolerance,
            "evaluations": target.tried,
            "scale": self.losses.scale,
            "half": RULE,
        }

    def sentences(self) -> list[str]:
        """What a person should know of what was found: targets that were not reached, curves that are not monotone."""
        if not self.ready:
            return ["no loss could be matched, for the dense run failed."]
        primary = self.later.primary
        found = [
            f"no level is matched to {primary} {cell.level:.10g}, whose run failed or lacks a task."
            for cell in self._runs(primary)
            if cell.level not in self._measured(primary) and cell.replicate == 0
        ]
        if self.losses.scale == "accuracy":
            found.append("no margins were logged, so levels are matched by the loss of mean accuracy.")
        found += self._missing()
        for control in self.later.controls:
            if fall := falls(self.points(control), self.losses.tolerance):
                found.append(
                    f"{control} does not lose more with every step: {fall[0].loss:.3g} at {fall[0].level:.10g}, "
                    f"{fall[1].loss:.3g} at {fall[1].level:.10g}; the level closest to each loss is kept."
                )
        return found + [_not_reached(match) for match in self.matches() if not match["reached"]]

    def _missing(self) -> list[str]:
        found = []
        for cell in self.cells:
            loss = self.losses.of(self.plan.file_name(cell)) if self._is_there(cell) else None
            if (
                loss is not None
                and loss.missing
                and cell.method in (self.later.primary, *self.later.controls)
            ):
                found.append(
                    f"{loss.missing} items of the calibration half have no {self.losses.scale} in run {self.plan.run_id(cell)!r}, "
                    "whose loss is that of the others."
                )
        return found

    def _measured(self, method: str) -> dict[float, float]:
        """Level -> mean loss over its draws, where all of them were evaluated on every task."""
        found = {}
        for level, cells in _by_level(self._runs(method)).items():
            if all(map(self._is_there, cells)):
                losses = [self.losses.of(self.plan.file_name(cell)) for cell in cells]
                values = [loss.value for loss in losses if loss is not None]
                if len(values) == len(losses):
                    found[level] = sum(values) / len(values)
        return found

    def _runs(self, method: str) -> list[PlannedRun]:
        return [c for c in self.cells if c.kind == "prune" and c.method == method and c.pattern is None]

    def _templates(self, method: str) -> list[PlannedRun]:
        return [c for c in self.later.templates if c.model == self.model and c.method == method]

    def _round(self) -> int:
        return 1 + max((int(c.added["round"]) for c in self.cells if c.added), default=0)

    def _is_there(self, cell: PlannedRun) -> bool:
        return manifest_path(self.store.folder, self.plan.file_name(cell)).is_file()

    def _sizes(self, cell: PlannedRun) -> tuple[int, ...]:
        manifest = read_manifest(self.store.folder, self.plan.file_name(cell))
        return tuple(int(size) for size in manifest.get("group_sizes") or ())


def _fails(points: Sequence[Point]) -> bool:
    """True where nothing speaks for another sparsity: the method fails, whatever it removes."""
    return len(points) >= MOST_FAILED and all(math.isinf(point.loss) for point in points)


def _why_not(points: Sequence[Point]) -> str:
    return "its runs failed" if _fails(points) else "a run there lacks a task"


def _is_for(cell: PlannedRun, primary: str, level: float) -> bool:
    sought = (cell.added or {}).get("for", ())
    return any(one["method"] == primary and one["level"] == level for one in sought)


def _by_level(cells: Iterable[PlannedRun]) -> dict[float, list[PlannedRun]]:
    found: dict[float, list[PlannedRun]] = {}
    for cell in cells:
        if cell.level is not None:
            found.setdefault(cell.level, []).append(cell)
    return found


def _point(point: Point) -> dict[str, Any]:
    """For JSON, which knows no infinity: a run that failed has no loss."""
    return {"level": point.level, "loss": None if math.isinf(point.loss) else point.loss}


def _not_reached(match: Mapping[str, Any]) -> str:
    asked = f"{match['matched_to']['method']} {match['matched_to']['level']:.10g}"
    ends = [f"{_loss(match['below'])} at {match['below']['level']:.10g}"]
    if match["above"] is not None:
        ends.append(f"{_loss(match['above'])} at {match['above']['level']:.10g}")
    return (
        f"{match['method']} is not matched to {asked}, which loses {match['target_loss']:.3g}: {match['why_not']}. "
        f"Nearest: {', '.join(ends)}."
    )


def _loss(point: Mapping[str, Any]) -> str:
    return "the run failed" if point["loss"] is None else f"{point['loss']:.3g}"
