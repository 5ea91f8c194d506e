"""`junkdna recover --dry-run`: would it be refused, as far as can be known without the weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from difficulty.runs.checkpoint import EMBEDDED
from difficulty.runs.identity import LOCAL_RECONSTRUCTION
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.checkpoint_files import check_checkpoint
from junkdna_harness.compress.loading import Source, load_skeleton
from junkdna_harness.compress.sources import check_spec
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.targets import decoder_blocks, find_targets
from junkdna_harness.device import default_device
from junkdna_harness.output_folder import check_output_folder
from junkdna_harness.presentation.amounts import byte_size
from junkdna_harness.recover.alone import beside
from junkdna_harness.recover.block_targets import bytes_of_states
from junkdna_harness.recover.data import check_data, load_data
from junkdna_harness.recover.run import default_lr, load_tokenizer, most_examples, refuse_unfit
from junkdna_harness.recover.schedule import batches, longest, tokenize
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
    skeleton = load_skeleton(Source(pretrained, "float32"))
    saved, trained, result = _sizes(skeleton, spec)
    on_cpu = default_device() == "cpu"
    if spec.arm == LOCAL_RECONSTRUCTION:
        yield from _room_of_blocks(skeleton, spec, source, pretrained or EMBEDDED, on_cpu)
    else:
        yield from check_room(result + COPIES * trained if on_cpu else None)
    need = bytes_needed(spec, saved, trained, result)
    yield from check_room(None, refuse_too_little(folder, need, spec), output)
    if folder.is_dir():
        yield f"an unfinished training lies in {str(folder)!r}: the same one goes on, another is refused"


def _room_of_blocks(skeleton: Any, spec: RecoverSpec, source: str, name: str, on_cpu: bool) -> Iterator[str]:
    """Main memory of a local reconstruction: both models, the hidden states of the rows that it sees, and what one block needs, which is
    where it is computed.
    """
    rows = _rows_seen(spec, skeleton, load_tokenizer(source, name))
    tokens = sum(map(len, rows.values()))
    yield f"{len(rows):,} rows of {tokens:,} tokens, whose hidden states take {byte_size(bytes_of_states(skeleton, tokens))}"
    block = max(_bytes(one) for one in decoder_blocks(skeleton))
    need = 2 * _bytes(skeleton) + bytes_of_states(skeleton, tokens)
    yield from check_room(need + (COPIES + 1) * block if on_cpu else need)


def _rows_seen(spec: RecoverSpec, model: Any, tokenizer: Any) -> dict[int, list[int]]:
    """The rows that the steps come to see, by their place among all: their token numbers.

    Raises:
        UsageError: the data are not there, or give nothing to learn.
    """
    seen = most_examples(spec)
    data = load_data(spec.data, spec.fraction, spec.seed, spec.include_path, seen)
    rows, _ = tokenize(data.examples[:seen], tokenizer, longest(model, spec.max_length))
    order = batches(rows, spec.steps, spec.batch_size, spec.seed)
    return {i: rows[i]["input_ids"] for i in sorted(set(order))}


def _bytes(module: Any) -> int:
    return WIDTH * sum(int(p.numel()) for p in module.parameters())


def _sizes(skeleton: Any, spec: RecoverSpec) -> tuple[int, int, int]:
    """Bytes of weights in a checkpoint, of those that are trained, and of the result."""
    whole = _bytes(skeleton)
    if spec.adapter is None:
        return whole, whole, whole
    own = WIDTH * spec.rank * sum(sum(target.shape) for target in find_targets(skeleton))
    return own, own, whole
