"""`run_study`: sweep, texts, train, evaluate, judge, report; whatever is finished in the folder is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from difficulty.files import PARTIAL, write_atomic
from difficulty.json_files import read_json
from difficulty.runs.store import PLAN as SWEEP_PLAN
from junkdna_harness.held_folder import LOCK
from junkdna_harness.presentation.progress import Meter
from junkdna_harness.recover.data import check_data
from junkdna_harness.study.on_ray import check_shared
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.verdicts import TOKENS, Verdicts, write_report
from junkdna_harness.sweep.engines import Extended, Failed, Finished, Loaded, Noted, Progress, Started
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.engines.ray import RayEngine
from junkdna_harness.sweep.run import run_sweep
from junkdna_harness.sweep.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from junkdna_harness.sweep.engines import Event
    from junkdna_harness.sweep.plan import Plan
    from junkdna_harness.sweep.run import SweepOutcome

PLAN = "study.json"


@dataclass
class StudyOutcome:
    """What a study came to: the verdicts on the tasks, and on the tokens of its texts where it has some; the report's path, what failed,
    seconds by stage."""

    folder: Path
    verdicts: Verdicts
    report: Path
    tokens: Verdicts | None = None
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run_study(
    plan: StudyPlan,
    output: str | Path,
    engine: Any = None,
    machine: Any = None,
    say: Callable[[str], None] = print,
    seed: int = 0,
    meter: Meter | None = None,
) -> StudyOutcome:
    """Carry out `plan` in the folder `output`, going on where an earlier call was stopped. `meter` shows how far each stage is.

    Raises:
        UsageError: the folder holds another study, or something in the plan cannot be used.
    """
    folder = Path(output)
    refuse_another(folder, plan)
    for _ in check_trainings(plan, folder):
        pass
    store = Store(folder)
    with store.locked():
        refuse_another(folder, plan)
        return _carry_out(plan, store, engine, machine, say, seed, meter or Meter("study"))


def _carry_out(
    plan: StudyPlan,
    store: Store,
    engine: Any,
    machine: Any,
    say: Callable[[str], None],
    seed: int,
    meter: Meter,
) -> StudyOutcome:
    from junkdna_harness.study.stages import check_trained, sweep_plan, tokens_plan, train_all

    folder = store.folder
    seconds: dict[str, float] = {}
    runner = engine if isinstance(engine, (LocalEngine, RayEngine)) else LocalEngine()
    if isinstance(engine, RayEngine) and plan.arms:
        check_shared(engine, folder)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        started = time.perf_counter()
        store.check_held()
        say(f"== {name}")
        meter.start(name, estimated=lambda took: meter.say(f"{meter.total:,.0f} {meter.unit}: {took}"))
        yield
        seconds[name] = time.perf_counter() - started
        say(f"== {name}: {seconds[name]:.0f} s")

    failed: dict[str, str] = {}
    with stage("sweep"):
        begin = partial(claim, folder, plan)
        failed |= _sweep(sweep_plan(plan), folder / "sweep", engine, machine, say, meter, begin)
    sources = [folder / "sweep"]
    if plan.text:
        with stage("tokens of texts"):
            failed |= _sweep(tokens_plan(plan), folder / TOKENS, engine, machine, say, meter)
    if plan.arms:
        with stage("recovery"):
            check_trained(plan, folder)
            for job in train_all(plan, folder, say, runner, machine, meter):
                name = job.folder(plan.recovery_method, len(plan.pretrained))
                failed[name] = "training broke down; the last good weights were evaluated"
            check_trained(plan, folder)
        with stage("evaluation of what was recovered"):
            failed |= _evaluate(plan, folder, runner, machine, say, meter)
        sources.append(folder / "recovered")
    with stage("verdicts and report"):
        verdicts, tokens, report = write_report(folder, sources, seed)
    rounded = {name: round(value, 1) for name, value in seconds.items()}
    record = {"plan": plan.to_dict(), "seconds": rounded, "failed": failed}
    store.check_held()
    write_atomic(folder / "outcome.json", json.dumps(record, indent=1) + "\n")
    return StudyOutcome(folder, verdicts, report, tokens, failed, seconds)


def check_trainings(plan: StudyPlan, folder: Path | None) -> Iterator[str]:
    """What the trainings will read and was found to be there, in words: they begin long after the sweep. Those that are in the folder
    read nothing any more.

    Raises:
        UsageError: an option of theirs cannot be used, or the data are not there.
    """
    from junkdna_harness.study.stages import checkpoint, is_trained

    waiting = []
    for job in plan.jobs():
        plan.recover_spec(job)
        if folder is None or not is_trained(checkpoint(folder, plan, job)):
            waiting.append(plan.training_data(job))
    for data in dict.fromkeys(waiting):
        check_data(data, plan.include_path)
        yield f"training data {data}"


def claim(folder: Path, plan: StudyPlan) -> None:
    """Make `folder` the place of this study, once its sweep has found all that it reads.

    Raises:
        UsageError: the folder cannot be written.
    """
    path = folder / PLAN
    if not path.is_file():
        write_atomic(path, json.dumps(plan.to_dict(), indent=1) + "\n")


def refuse_another(folder: Path, plan: StudyPlan) -> None:
    """Look whether `folder` is that of this study, or may become it.

    Raises:
        UsageError: another study is there, or something else.
    """
    path = folder / PLAN
    mine = plan.to_dict()
    if path.is_file():
        there = read_json(path, "the plan of a study", "Remove the folder, or give another one.")
        if not isinstance(there, dict):
            raise UsageError(f"{str(path)!r} holds no plan. Remove the folder, or give another one.")
        if there != mine:
            name = next((k for k in mine if there.get(k) != mine[k]), "plan")
            raise UsageError(
                f"{str(folder)!r} holds another study: its {name} is {json.dumps(there.get(name))}, not "
                f"{json.dumps(mine.get(name))}. Give the same options to go on with it, or another --output."
            )
        return
    if folder.is_file() or (folder.is_dir() and not all(map(_is_of_a_beginning, folder.iterdir()))):
        raise UsageError(f"{str(folder)!r} exists and holds no study. Give another --output.")


def _is_of_a_beginning(path: Path) -> bool:
    """True for what a study holds that was killed before it was claimed: its sweep has a plan at the most, which is compared."""
    if path.name == "sweep" and path.is_dir():
        return all(one.name in (LOCK, SWEEP_PLAN) or one.suffix == PARTIAL for one in path.iterdir())
    return path.name == LOCK or path.suffix == PARTIAL


def _sweep(
    grid: Plan,
    folder: Path,
    engine: Any,
    machine: Any,
    say: Callable[[str], None],
    meter: Meter,
    begin: Callable[[], None] | None = None,
) -> dict[str, str]:
    outcome = run_sweep(grid, folder, machine, engine, listener=_Listener(grid, say, meter), begin=begin)
    return _failures(outcome)


def _evaluate(
    plan: StudyPlan,
    folder: Path,
    engine: LocalEngine | RayEngine,
    machine: Any,
    say: Callable[[str], None],
    meter: Meter,
) -> dict[str, str]:
    from junkdna_harness.study.checkpoints import Checkpoints, trained_since
    from junkdna_harness.study.stages import recovered_plan

    grid = recovered_plan(plan)
    swept = Store(folder / "sweep")
    base = swept.need_plan()
    taken = {model: swept.fingerprint(base, model) for model in range(len(grid.models))}
    loading: LocalEngine | RayEngine
    if isinstance(engine, RayEngine):
        loading = replace(
            engine, open_state=Checkpoints, shared=True
        )  # workers see the folder, as the trainings did
    else:
        loading = replace(engine, open_state=Checkpoints)
    outcome = run_sweep(
        grid, folder / "recovered", machine, loading, listener=_Listener(grid, say, meter),
        outdated=lambda cell, manifest: trained_since(folder, cell, manifest),
        like={model: known for model, known in taken.items() if known is not None},
    )  # fmt: skip
    return _failures(outcome)


def _failures(outcome: SweepOutcome) -> dict[str, str]:
    """Run id -> why it failed, or which of its tasks did."""
    tasks = {
        run: "; ".join(f"{task}: {why}" for task, why in failed.items())
        for run, failed in outcome.failed_tasks.items()
    }
    return {**tasks, **outcome.failed}


class _Listener:
    """A line for each run; the meter shows how many requests are answered, and of which run."""

    def __init__(self, plan: Plan, say: Callable[[str], None], meter: Meter) -> None:
        self.plan, self.say, self.meter, self.done = plan, say, meter, 0
        self.stage, self.asked, self.answered = meter.what, 0, 0
        meter.unit = "requests"

    def __call__(self, event: Event) -> None:
        if isinstance(event, Loaded):
            self.asked = max(self.asked, event.requests)
        elif isinstance(event, Extended):
            self.plan = event.plan
        elif isinstance(event, Started):
            self._move(self.plan.run_id(event.cell))
        elif isinstance(event, Progress):
            self.answered += event.count
            self._move(None)
        elif isinstance(event, Finished):
            self.done += 1
            took = sum(event.result.manifest["seconds"].values())
            self.say(f"[{self.done}/{len(self.plan.cells)}] {self.plan.run_id(event.cell)} ({took:.1f} s)")
            self.answered = max(self.answered, self.done * self.asked)
            self._move(None)
        elif isinstance(event, Failed):
            self.say(f"{self.plan.run_id(event.cell)} FAILED: {event.error}")
        elif isinstance(event, Noted):
            self.say(event.text)

    def _move(self, run: str | None) -> None:
        what = None if run is None else f"{self.stage}: {run}"
        self.meter.move(self.answered, self.asked * len(self.plan.cells), what)
