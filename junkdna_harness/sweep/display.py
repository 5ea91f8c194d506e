"""What a person sees of a sweep: its plan, its progress, its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from difficulty.runs.identity import DENSE
from difficulty.text import score_text
from junkdna_harness.presentation.amounts import byte_size, time_span
from junkdna_harness.presentation.lines import Line, show_lines, show_text
from junkdna_harness.presentation.progress import Meter
from junkdna_harness.presentation.table import Column, table
from junkdna_harness.sweep.engines import Event, Extended, Failed, Finished, Loaded, Noted, Progress, Started
from junkdna_harness.sweep.estimate import BYTES_AN_ITEM, count_items, largest_model
from junkdna_harness.sweep.machine import available_cores
from junkdna_harness.sweep.outlook import matched_rows, outlook
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.reachable import check_data, check_machine, check_models, check_tasks
from junkdna_harness.sweep.run import SweepOutcome
from junkdna_harness.sweep.store import Store

# Seen on the embedded model: 1.3 M weights, 6,000 items and 8,500 requests take a few seconds on one core.
FLOPS_A_CORE = 4e10
TOKENS_AN_ITEM = 60
SHARES = ("acc", "acc_norm", "exact_match")
MOST_COLUMNS = 6  # of the table at the end


class Display:
    """Progress on stderr: a line per run, and within it a bar, or in a pipe a line a minute."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.meter = Meter("loading", unit="requests", estimated=self._expected)
        self.ended = self.asked = 0
        self.loaded: set[int] = set()

    def __enter__(self) -> Display:
        self.meter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.meter.__exit__(*error)

    def hear(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Loaded():
                if event.model not in self.loaded:
                    self.loaded.add(event.model)
                    self.asked = max(self.asked, event.requests)
                    self.meter.say(f"model loaded, {event.requests:,} requests per run")
            case Started():
                self.meter.move(self.meter.done, self._total, self.plan.run_id(event.cell))
            case Progress():
                self.meter.add(event.count)
            case Finished():
                manifest = event.result.manifest
                self._ended(event.cell, f": {_mean(manifest)} in {sum(manifest['seconds'].values()):.1f} s")
            case Failed():
                self._ended(event.cell, f" FAILED: {event.error}")
            case Noted():
                self.meter.say(event.text)
            case Extended():
                self.plan = event.plan
                self.meter.say(event.why)

    @property
    def _total(self) -> int:
        return self.asked * len(self.plan.cells)

    def _ended(self, cell: PlannedRun, told: str) -> None:
        self.ended += 1
        self.meter.say(f"[{self.ended}] {self.plan.run_id(cell)}{told}")
        # A run that failed asked less than it should, and some engines tell of no requests.
        self.meter.move(max(self.meter.done, self.ended * self.asked), self._total)

    def _expected(self, took: str) -> None:
        models = ", ".join(dict.fromkeys(str(model["pretrained"]) for model in self.plan.models))
        self.meter.say(f"{len(self.plan.cells)} runs of {models}, {self._total:,} requests in all: {took}")


def _mean(manifest: Mapping[str, Any]) -> str:
    found = [
        (key.partition(",")[0], value)
        for result in manifest["results"]["results"].values()
        for key, value in result.items()
        if key.startswith(("acc,", "exact_match,")) and isinstance(value, float)
    ]
    if not found:
        return "done"
    return f"mean {found[0][0]} {sum(value for _, value in found) / len(found):.3f}"


def print_plan(plan: Plan, output: Path | None, extend: bool = False) -> None:
    """The plan with an estimate of time, memory and disk, and what was found to be there, on stdout. Loads tasks, but no model.

    Raises:
        UsageError: the sweep would be refused: a task, a text or a model is not there, the folder `output` belongs to another plan, or
            there is no room.
    """
    check_tasks(plan)
    done = set()
    if output is not None:
        plan = (store := Store(output)).joined(plan, extend)
        done = {plan.run_id(cell) for cell in store.finished(plan)}
    found = check_models(plan, range(len(plan.models)))
    checked = [*found, *check_data(plan), *check_machine(plan, len(plan.cells) - len(done), output)]
    columns = [
        Column("run", told=False),
        Column("method", "text"),
        Column("level", "number"),
        Column("bits", "number"),
        Column("", "text"),
    ]
    rows = []
    for cell in plan.cells:
        name = plan.run_id(cell)
        level = "" if cell.level is None else f"{cell.level:.10g}"
        rows.append([name, cell.table_method, level, str(cell.bits or ""), "done" if name in done else ""])
    show_lines(table(columns, rows))
    left = len(plan.cells) - len(done)
    show_text(f"{len(plan.cells)} runs, {left} to do, tasks {', '.join(plan.settings.tasks)}")
    most, said = outlook(plan)
    for line in (*said, *estimate(plan, left, most), *plan.notes, *(f"checked: {line}" for line in checked)):
        show_text(line)


def estimate(plan: Plan, runs: int, most_later: int = 0) -> list[str]:
    """Sentences on time, memory and disk, rough: from the models' configurations and the tasks' sizes where known.

    `most_later` is how many runs later rounds may add to `runs`.
    """
    largest = largest_model(plan)
    if largest is None:
        return ["time and memory: unknown, for the model is not on this machine yet"]
    items = count_items(plan)
    seconds = 2 * largest.weights * TOKENS_AN_ITEM * items / (FLOPS_A_CORE * available_cores())
    least, most = seconds * runs, seconds * (runs + most_later)
    spans = time_span(least) + (f" (with later rounds up to {time_span(most)})" if most_later else "")
    return [
        f"time: roughly {spans} of forward passes on this machine's CPU ({items:,} items per run)",
        f"memory: {byte_size(2 * largest.bytes)} (weights and their pristine copy; the copy is mapped from disk if it does not fit)",
        f"disk: {byte_size(items * BYTES_AN_ITEM * (runs + most_later))}",
    ]


def print_summary(outcome: SweepOutcome) -> None:
    """The runs of the folder with their scores, then failures and where time went."""
    manifests = sorted(Store(outcome.folder).manifests(), key=order)
    show_lines(runs_table(manifests))
    if (more := len(_columns(manifests)) - MOST_COLUMNS) > 0:
        show_text(f"{more} more columns: junkdna report {outcome.folder} --by task")
    if matches := matched_rows(outcome.plan.matches):
        heads = [
            Column("control", told=False),
            Column("level", "number", told=False),
            Column("loss", "number", told=False),
        ]
        heads += [Column("matched to", "text"), Column("its loss", "number", told=False)]
        show_lines(table(heads, matches))
    for line in _told(outcome):
        show_text(line)


def runs_table(manifests: list[dict[str, Any]]) -> list[Line]:
    """Runs with what they score on the first groups or tasks."""
    columns = _columns(manifests)[:MOST_COLUMNS]
    heads = [Column("run", told=False), Column("bits per weight", "number")]
    heads += [Column(name, "number", told=False) for name in (*_short(columns), "seconds")]
    rows = []
    for manifest in manifests:
        cells = [_score(manifest, column) for column in columns]
        bits = manifest["effective_bits"]
        rows.append([
            manifest["run"], "" if bits is None else f"{bits:.2f}", *cells, f"{sum(manifest['seconds'].values()):.1f}",
        ])  # fmt: skip
    return table(heads, rows)


def _told(outcome: SweepOutcome) -> list[str]:
    """What failed, where time went, and how many runs are done."""
    lines = [
        f"no score of {task} in {run}: {why}"
        for run, tasks in outcome.failed_tasks.items()
        for task, why in tasks.items()
    ]
    lines += [f"failed: {run}: {error}" for run, error in outcome.failed.items()]
    if outcome.seconds:
        lines.append(
            "time: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in outcome.seconds.items())
        )
    already = f", {len(outcome.skipped)} were there" if outcome.skipped else ""
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    return [*lines, f"{len(outcome.finished)} runs done{already}{failed}: {outcome.folder}"]


def order(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """By model, its dense run first, then by method, and by level and bits as numbers."""
    method, level, bits = (manifest.get(name) for name in ("method", "level", "bits"))
    return (
        str(manifest.get("model")), method != DENSE, str(method), -1.0 if level is None else float(level), -float(bits or 0),
        str(manifest["run"]),
    )  # fmt: skip


def _short(names: list[str]) -> list[str]:
    """Names without the words that all of them begin with."""
    words = [name.split("_") for name in names]
    common = 0
    while len(names) > 1 and len({tuple(w[: common + 1]) for w in words}) == 1 and common < len(words[0]):
        common += 1
    return ["_".join(w[common:]) or name for w, name in zip(words, names, strict=True)]


def _columns(manifests: list[dict[str, Any]]) -> list[str]:
    """Groups where there are some, else tasks."""
    if not manifests:
        return []
    results = manifests[0]["results"]
    return list(results["groups"]) or list(results["results"])


def _score(manifest: dict[str, Any], name: str) -> str:
    result = manifest["results"]["results"].get(name, {})
    for key, value in result.items():
        metric = key.partition(",")[0]
        if "," in key and not metric.endswith("_stderr") and isinstance(value, (int, float)):
            share = metric in SHARES and 0 <= value <= 1
            return score_text(float(value), share)
    return ""
