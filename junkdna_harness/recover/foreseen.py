"""`junkdna recover --dry-run`: would it be refused, as far as can be known without the weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.checkpoint_files import check_checkpoint
from junkdna_harness.compress.loading import Source, load_skeleton
from junkdna_harness.compress.sources import check_spec
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.targets import find_targets
from junkdna_harness.device import default_device
from junkdna_harness.output_folder import check_output_folder
from junkdna_harness.recover.alone import beside
from junkdna_harness.recover.data import check_data
from junkdna_harness.recover.run import default_lr, refuse_unfit
from junkdna_harness.recover.spec import RecoverSpec
from junkdna_harness.recover.storage import MOMENTS, bytes_needed, refuse_too_little
from junkdna_harness.recover.training import training_arguments
from junkdna_harness.resources import check_room

WIDTH = 4  # bytes: trainings are in float32
COPIES = (
    2 + MOMENTS
)  # of a trained weight, beside it: its gradient, the moments, and the last that is known to be good


def check_recovery(
    pretrained: str | None, output: Path, spec: RecoverSpec, prune_spec: PruneSpec | None = None, force: bool = False
) -> Iterator[str]:  # fmt: skip
    """What was found to be there, and how much room there is, in words. Nothing is written.

    Raises:
        UsageError: `recover` would refuse it.
    """
    check_output_folder(output, force, pretrained)
    source = resolve_pretrained(pretrained)
    check_checkpoint(pretrained)
    refuse_unfit(spec, prune_spec)
    folder = beside(output, "training")
    training_arguments(spec, spec.lr or default_lr(spec, source), folder)
    check_data(spec.data, spec.include_path)
    yield f"training data {spec.data}"
    if prune_spec is not None:
        yield from check_spec(prune_spec, source)
    saved, trained, result = _sizes(pretrained, spec)
    yield from check_room(result + COPIES * trained if default_device() == "cpu" else None)
    need = bytes_needed(spec, saved, trained, result)
    yield from check_room(None, refuse_too_little(folder, need), output)
    if folder.is_dir():
        yield f"an unfinished training lies in {str(folder)!r}: the same one goes on, another is refused"


def _sizes(pretrained: str | None, spec: RecoverSpec) -> tuple[int, int, int]:
    """Bytes of weights in a checkpoint, of those that are trained, and of the result."""
    skeleton = load_skeleton(Source(pretrained, "float32"))
    whole = WIDTH * sum(p.numel() for p in skeleton.parameters())
    if spec.adapter is None:
        return whole, whole, whole
    own = WIDTH * spec.rank * sum(sum(target.shape) for target in find_targets(skeleton))
    return own, own, whole
