"""What a sweep will read, looked for before it takes its folder: models, tasks, texts, calibration."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.checkpoint_files import check_model_arguments
from junkdna_harness.compress.sources import check_spec
from junkdna_harness.device import default_device
from junkdna_harness.harness.tasks import find_tasks, load_tasks
from junkdna_harness.resources import check_disk, check_room
from junkdna_harness.sweep.estimate import BYTES_AN_ITEM, count_items, largest_model
from junkdna_harness.sweep.plan import Plan
from junkdna_harness.sweep.planned import spec_of
from junkdna_harness.sweep.suite import refuse_tasks
from junkdna_harness.texts.documents import read_documents


def check_tasks(plan: Plan) -> None:
    """Name unknown tasks, and texts that cannot be read.

    Raises:
        UsageError: names all of them.
    """
    if plan.settings.text:
        read_documents(plan.settings.text)
    find_tasks(plan.settings.tasks, plan.settings.include_path, plan.metadata(0))


def check_models(plan: Plan, models: Collection[int]) -> Iterator[str]:
    """What of the given models, and of what their runs read beside them, was found to be there, in words.

    Raises:
        UsageError: a model is not there, or a calibration text.
    """
    for model in models:
        name = str(plan.models[model]["pretrained"])
        check_model_arguments(plan.models[model], with_tokenizer=True)
        path = resolve_pretrained(name)
        yield f"model {name}"
        specs = [
            spec for cell in plan.of_model(model) if (spec := spec_of(cell)) is not None and spec.calibrated
        ]
        for spec in {spec.calibration: spec for spec in specs}.values():
            yield from check_spec(spec, path)


def check_data(plan: Plan, missing: set[str] | None = None) -> Iterator[str]:
    """What came of loading the tasks with their data, in words: as a sweep does it, after its models. `missing` is given the names of those
    that were not loaded.

    Raises:
        UsageError: none can be loaded, or one that a sweep refuses.
    """
    manager, names = find_tasks(plan.settings.tasks, plan.settings.include_path, plan.metadata(0))
    loaded = load_tasks(manager, names)
    refuse_tasks(loaded.tasks)
    for text in plan.settings.text:
        yield f"text {text}"
    yield f"data of {len(loaded.tasks)} tasks"
    if missing is not None:
        missing.update(loaded.failed)
    for task, why in loaded.failed.items():
        yield f"task {task} will have no scores: {why}"


def check_machine(plan: Plan, runs: int, output: Path | None) -> Iterator[str]:
    """Whether `runs` of the plan have room, by the estimate of `--dry-run`. On a CPU one copy of the model must fit into memory.

    Raises:
        UsageError: they have not.
    """
    size = largest_model(plan)
    memory = None if size is None or default_device() != "cpu" else size.bytes
    yield from check_room(memory, _bytes_of(plan, runs), output)


def check_space(plan: Plan, runs: int, output: Path) -> None:
    """Whether the tables of `runs` of the plan have room on the disk of `output`.

    Raises:
        UsageError: they have not.
    """
    check_disk(output, _bytes_of(plan, runs))


def _bytes_of(plan: Plan, runs: int) -> int:
    return count_items(plan) * BYTES_AN_ITEM * runs
