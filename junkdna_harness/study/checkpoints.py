"""Recovered checkpoints as runs of a sweep: their weights take the place of the dense model's, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import MANIFEST, read_manifest
from junkdna_harness.compress.hashing import tensor_sha256
from junkdna_harness.study.job import Job
from junkdna_harness.sweep.by_task import CHECKPOINTS
from junkdna_harness.sweep.plan import PlannedRun
from junkdna_harness.sweep.states import Dense

AGAIN = "Remove that folder and start the study again: it trains it anew."


class Checkpoints:
    """Runs that are checkpoints of the loaded model's shape. Their paths are relative to the study's folder."""

    def __init__(self, dense: Dense) -> None:
        if dense.folder is None:
            raise UsageError("checkpoints lie in a study's folder. Evaluate them with the local engine.")
        self.dense, self.model, self.root = dense, dense.lm.model, dense.folder.parent

    @contextmanager
    def holding(self, cell: PlannedRun) -> Iterator[Mapping[str, Any]]:
        """The checkpoint's manifest, while the model has its weights."""
        folder = self.root / str(cell.arguments["pretrained"])
        manifest = finished_manifest(folder)
        kept = {name: p.detach().to("cpu", copy=True) for name, p in self.model.named_parameters()}
        try:
            self._load(folder, manifest)
            yield manifest
        finally:
            self.model.load_state_dict(kept, strict=False)

    def _load(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        found: set[str] = set()
        for file in sorted(folder.glob("*.safetensors")):
            try:
                weights = load_file(file)
            except (SafetensorError, OSError) as error:
                raise UsageError(f"{str(file)!r} cannot be read: {error}. {AGAIN}") from error
            _check_tensors(folder, weights, manifest)
            unexpected = self.model.load_state_dict(weights, strict=False).unexpected_keys
            if unexpected:
                raise UsageError(
                    f"{str(folder)!r} has {unexpected[0]!r}, which the model has not: it is of another model."
                )
            found |= weights.keys()
        missing = [name for name, _ in self.model.named_parameters() if name not in found]
        if missing:
            raise UsageError(f"{str(folder)!r} lacks {missing[0]!r}: it is of another model, or damaged.")


def _check_tensors(folder: Path, weights: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """The weights must be those that the manifest speaks of: its method and level stand in tables beside their scores."""
    for name, tensor in weights.items():
        expected = manifest.get("tensors", {}).get(name)
        if expected is not None and tensor_sha256(tensor) != expected["sha256"]:
            raise UsageError(f"{str(folder)!r}: {name!r} is not what its {MANIFEST} says. {AGAIN}")


def finished_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished recovery.

    Raises:
        UsageError: there is none.
    """
    found = read_manifest(str(folder))
    if "recovery" not in found:
        raise UsageError(f"{str(folder)!r} is no finished recovery. Remove it and start the study again.")
    return found


def trained_since(root: Path, cell: PlannedRun, run: Mapping[str, Any]) -> str | None:
    """Why an evaluated checkpoint of the study in `root` must be evaluated again; None where it is the same still."""
    answered: Mapping[str, Any] = (run.get("manifest") or {}).get(CHECKPOINTS) or {}
    for task, part in cell.by_task.items():
        if found := _other_weights(root, part, (answered.get(task) or {}).get("weights_sha256")):
            return f"of task {task}, {found}"
    return None if cell.by_task else _other_weights(root, cell, run.get("weights_sha256"))


def _other_weights(root: Path, cell: PlannedRun, was: object) -> str | None:
    now = read_manifest(root / str(cell.arguments["pretrained"])).get("weights_sha256")
    if now == was or now is None:
        return None
    return (
        f"its checkpoint was trained anew since (weights sha256 {str(was)[:12]}... then, {now[:12]}... now)"
    )


def check_same_start(trained: Iterable[tuple[Job, Path]], swept: Mapping[tuple[int, float], str]) -> None:
    """Refuse trainings that cannot be compared: those of one model and level start from the same weights, and those of one share and
    budget see one text.

    `swept`: (model, level) -> sha256 of the weights that the sweep evaluated there; level 0 is the dense model. None of a model whose
    numbers have another width in the sweep than those that are trained.

    Raises:
        UsageError: names the training that differs.
    """
    starts: dict[tuple[int, float], tuple[str | None, str]] = {
        key: (sha256, "the sweep") for key, sha256 in swept.items()
    }
    texts: dict[tuple[object, ...], tuple[str | None, str]] = {}
    for job, folder in trained:
        recovery = finished_manifest(folder)["recovery"]
        start, text = recovery.get("weights_sha256_before"), recovery.get("data_sha256")
        budget = (job.task, job.fraction, job.seed, job.steps, job.local)
        for what, value, (known, where) in (
            (
                "started from other weights",
                start,
                starts.setdefault((job.model, job.level), (start, folder.name)),
            ),
            ("saw another training text", text, texts.setdefault(budget, (text, folder.name))),
        ):
            if None not in (known, value) and known != value:
                raise UsageError(
                    f"training {folder.name!r} {what} (sha256 {str(value)[:12]}...) than {where} ({str(known)[:12]}...): the model, its "
                    f"calibration text or the data changed in between. Bring back what it was, remove {str(folder)!r}, and start "
                    "the study again; or give another --output."
                )
