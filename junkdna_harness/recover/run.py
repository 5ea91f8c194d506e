"""`recover`: a compressed model in, a trained one out, as an ordinary checkpoint that says how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED
from difficulty.runs.identity import DENSE_FREEZING, LOCAL_RECONSTRUCTION, SPARSE_TRANSFER
from difficulty.runs.part import DATA_ROWS
from difficulty.runs.running import Running
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.card import PRUNED_BY
from junkdna_harness.compress.checkpoint_files import check_checkpoint
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.manifest import manifest_folder
from junkdna_harness.compress.origin import Origin
from junkdna_harness.compress.pruning import prune
from junkdna_harness.compress.reading import Whole, clear_loading_errors, no_tokenizer
from junkdna_harness.compress.recipe import recipe_of
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.device import usable_map
from junkdna_harness.embedded import knows_the_suite
from junkdna_harness.output_folder import check_output_folder
from junkdna_harness.presentation.console import say
from junkdna_harness.recover.adapters import add_adapter
from junkdna_harness.recover.alone import alone, beside, is_first_process
from junkdna_harness.recover.checkpoints import StillAlone
from junkdna_harness.recover.data import load_data
from junkdna_harness.recover.hold import Held, HoldWeights
from junkdna_harness.recover.local import reconstruct
from junkdna_harness.recover.masks import Masks, kept_masks, same_shapes, sparsity
from junkdna_harness.recover.notes import say_what_is_cut, say_what_is_taught, say_what_is_unseen
from junkdna_harness.recover.save import save
from junkdna_harness.recover.schedule import longest, tokenize
from junkdna_harness.recover.spec import (
    ADAPTER_LR,
    EMBEDDED_LOCAL_LR,
    EMBEDDED_LR,
    LOCAL_LR,
    PAPER_LR,
    RecoverSpec,
)
from junkdna_harness.recover.start import Start
from junkdna_harness.recover.storage import bytes_needed, refuse_too_little
from junkdna_harness.recover.training import MOST_HELD_OUT, Training, train
from junkdna_harness.recover.whole import remove_checkpoints
from junkdna_harness.texts.vocabulary import refuse_unknown_tokens


@dataclass(frozen=True)
class Recovered:
    """A recovery: the checkpoint's folder, its manifest, and what the training was like."""

    output: Path
    manifest: Mapping[str, Any]
    training: Training


def recover(
    pretrained: str | None,
    output: str | Path,
    spec: RecoverSpec | None = None,
    prune_spec: PruneSpec | None = None,
    force: bool = False,
    callbacks: Sequence[Any] = (),
    name: str | None = None,
) -> Recovered:
    """Train `pretrained` by one arm of the paper and write an ordinary checkpoint with a manifest to `output`.

    The mask is made by `prune_spec`, or read off the zeros of a checkpoint that is pruned already. `callbacks` are those of
    `transformers.Trainer`, and `name` is what the model card calls the checkpoint. A run that was cut
    off goes on from its last checkpoint when it is asked for again.

    Raises:
        UsageError: the model, the mask, the data or the options cannot be used, or another process trains there.

    Reference: Yin et al., Junk DNA Hypothesis (2310.02277).

    Examples:
        >>> import tempfile
        >>> from junkdna_harness.compress import PruneSpec
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = recover("embedded", folder + "/out", RecoverSpec(steps=1, batch_size=2), PruneSpec(method="magnitude"))
        >>> done.training.steps, done.manifest["method"]
        (1, 'magnitude+sparse_transfer')
    """
    check_output_folder(output, force, pretrained)  # before a lock is put beside it
    with alone(Path(output)) as check:
        called = (*callbacks, StillAlone(check))
        return recover_here(pretrained, Path(output), spec or RecoverSpec(), prune_spec, force, called, name)


def recover_here(
    pretrained: str | None,
    output: Path,
    spec: RecoverSpec,
    prune_spec: PruneSpec | None = None,
    force: bool = False,
    callbacks: Sequence[Any] = (),
    name: str | None = None,
    device_map: Any = None,
) -> Recovered:
    """`recover`, where the caller sees to it that nothing else trains into `output`; `device_map` lays the model over several devices."""
    check_output_folder(output, force, pretrained)  # before hours of training, not after
    source = resolve_pretrained(pretrained)
    if "lr" in spec.name_by and spec.lr is None:
        spec = replace(spec, lr=default_lr(spec, source))  # the name holds it
    check_checkpoint(pretrained)
    given = pretrained or EMBEDDED
    refuse_unfit(spec, prune_spec)
    say_what_is_taught(spec.data, source)
    seen = most_examples(spec)
    data = load_data(spec.data, spec.fraction, spec.seed, spec.include_path, seen)
    say_what_is_unseen(spec, len(data), seen)
    model, tokenizer = load(source, given, device_map)
    manifest = believed_manifest(given, model)
    start = begin(model, tokenizer, spec, prune_spec, manifest)
    examples = data.examples[:seen]
    length = longest(model, spec.max_length)
    rows, shortened = tokenize(examples, tokenizer, length)
    refuse_unknown_tokens(given, max(max(row["input_ids"]) for row in rows), model)
    say_what_is_cut(shortened, len(examples), length)
    lr = spec.lr or default_lr(spec, source)
    identity = {
        "model": given, "spec": spec.to_dict(), "prune": repr(prune_spec), "data": data.sha256, "lr": lr,
        "start": start.block.get("weights_sha256"),
    }  # fmt: skip
    trained = attach_adapter(model, spec, start)
    folder = beside(output, "training")
    refuse_too_little(folder, bytes_needed(spec, *_sizes(model, trained)), spec)
    if spec.arm == LOCAL_RECONSTRUCTION:
        training = reconstruct(model, rows, start, spec, lr, folder, identity, callbacks)
    else:
        training = train(trained, tokenizer, rows, start.hold, spec, lr, folder, identity, callbacks)
    if is_first_process():
        facts = {
            "data": data.source, "data_sha256": data.sha256, "examples": len(data), "rows": len(rows), "lr": lr,
            "source": given, "longest_row": length, "shortened": shortened,
            **({} if prune_spec is None else {PRUNED_BY: recipe_of(prune_spec)}),
            **({} if data.rows is None else {DATA_ROWS: data.rows}),
        }  # fmt: skip
        written = save(trained, tokenizer, output, spec, start, training, facts, bool(manifest), force, name)
        remove_checkpoints(folder)
        return Recovered(output, written, training)
    return Recovered(output, {}, training)


def most_examples(spec: RecoverSpec) -> int:
    """As many as training can come to see: the others need no tokens."""
    per_step = (
        spec.batch_size
        * int(spec.trainer.get("gradient_accumulation_steps", 1))
        * int(os.environ.get("WORLD_SIZE", "1"))
    )
    return spec.steps * per_step + (MOST_HELD_OUT if spec.early_stop is not None else 0)


def load(source: str, name: str, device_map: Any = None) -> tuple[Any, Any]:
    """Model and tokenizer of a folder or hub id; fp32 unless the checkpoint holds codes. `device_map` as transformers reads it.

    Raises:
        UsageError: they cannot be loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    check_checkpoint(name)
    with clear_loading_errors(name):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        codes = getattr(config, "quantization_config", None) is not None
        options = {} if codes else {"dtype": torch.float32}
        if (laid := usable_map(device_map)) is not None:
            options["device_map"] = laid
        model = Whole(AutoModelForCausalLM).from_pretrained(source, trust_remote_code=False, **options)
        return model, load_tokenizer(source, name)


def load_tokenizer(source: str, name: str) -> Any:
    """The tokenizer of a folder or hub id.

    Raises:
        UsageError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # its library raises Exception itself
        raise UsageError(no_tokenizer(name, error)) from error


def refuse_unfit(spec: RecoverSpec, prune_spec: PruneSpec | None) -> None:
    """Refuse a way to prune that no training can follow, before anything is loaded.

    Raises:
        UsageError: says why.
    """
    if spec.arm == LOCAL_RECONSTRUCTION and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"arm={spec.arm} trains one block after the other in one process, and this is one of several. Start it without accelerate launch."
        )
    if prune_spec is None:
        if spec.needs_dense:
            raise _no_dense(spec)
        return
    if not spec.needs_mask:
        raise UsageError(
            f"arm={spec.arm} trains the dense model, so method and sparsity have no meaning. Leave them out."
        )
    if spec.merge == "keep":  # an adapter that is written alone needs on disk what it was trained on
        raise UsageError(
            "merge='keep' writes the adapter alone, and the model that is pruned for it here would be lost. Write that with "
            "junkdna prune first, and recover from there."
        )
    _refuse_running(prune_spec.running, "the pruning asks for")
    if prune_spec.bits is not None:
        raise UsageError(
            f"bits={prune_spec.bits} would be trained away again. Leave it out, and quantize the recovered checkpoint."
        )
    if prune_spec.structured:
        raise UsageError(
            f"method={prune_spec.method} removes whole {prune_spec.method}, so no mask of single weights is left to train under. Write what "
            f"is left with junkdna prune, and train that with arm=dense_transfer."
        )


def begin(
    model: Any, tokenizer: Any, spec: RecoverSpec, prune_spec: PruneSpec | None, manifest: Mapping[str, Any]
) -> Start:
    """Put `model` where the arm begins and say which weights are to be held.

    Raises:
        UsageError: no mask where the arm needs one, or a quantized model without an adapter.
    """
    refuse_unfit(spec, prune_spec)
    if _is_quantized(model, manifest):
        return _begin_quantized(model, spec, prune_spec, manifest)
    if not spec.needs_mask:
        return Start({}, {**manifest, **_dense_block(model, manifest)}, HoldWeights({}))
    if spec.needs_dense and manifest.get("kind") == "pruned" and (manifest.get("sparsity_targeted") or 0) > 0:
        raise _no_dense(spec)
    dense = {n: p.detach().clone() for n, p in model.named_parameters()} if spec.needs_dense else {}
    block = _pruned_block(model, tokenizer, prune_spec, manifest)
    masks = kept_masks(model, *((prune_spec.targets, prune_spec.exclude) if prune_spec else ((), ())))
    same_shapes(masks, model)
    if sparsity(masks) == 0:
        raise UsageError(
            f"arm={spec.arm} needs a pruned model, and no weight here is zero. Give method= and sparsity= (or mask=), or "
            "name a pruned checkpoint."
        )
    if spec.needs_dense and not any(bool(dense[n][~mask].any()) for n, mask in masks.items()):
        raise _no_dense(spec)
    if spec.arm == DENSE_FREEZING:
        for parameter_name, parameter in model.named_parameters():
            parameter.data.copy_(dense[parameter_name])
    if spec.adapter is not None or not spec.under_mask:
        return Start(masks, block, HoldWeights({}))
    if spec.arm in (SPARSE_TRANSFER, LOCAL_RECONSTRUCTION):
        before = {n: dense[n] for n in masks} if spec.needs_dense else {}
        return Start(masks, block, HoldWeights({n: Held(mask) for n, mask in masks.items()}), dense=before)
    free = {n: (mask if spec.freeze == "removed" else ~mask) for n, mask in masks.items()}
    return Start(masks, block, HoldWeights({n: Held(mask, dense[n]) for n, mask in free.items()}))


def _no_dense(spec: RecoverSpec) -> UsageError:
    why = (
        "keeps what pruning would remove"
        if spec.arm == DENSE_FREEZING
        else "fits each block to what the dense one gives"
    )
    return UsageError(
        f"arm={spec.arm} needs the dense model and a way to prune it, for it {why}. Name the dense checkpoint, with method= and sparsity=, "
        "or mask=."
    )


def _sizes(model: Any, trained: Any) -> tuple[int, int, int]:
    """Bytes of weights in a checkpoint, of those that are trained, and of the result; an adapter is saved without its model."""
    own = sum(p.numel() * p.element_size() for p in trained.parameters() if p.requires_grad)
    whole = sum(p.numel() * p.element_size() for p in model.parameters())
    return (whole if trained is model else own), own, whole


def attach_adapter(model: Any, spec: RecoverSpec, start: Start) -> Any:
    """`model`, or a peft model around it where the spec asks for an adapter."""
    if spec.adapter is None:
        return model
    trainable: Masks | None = None if start.stored_codes else {}
    if spec.under_mask and not start.stored_codes:
        kept = spec.arm == SPARSE_TRANSFER or spec.freeze == "removed"
        trainable = {name: mask if kept else ~mask for name, mask in start.masks.items()}
    return add_adapter(model, spec.adapter, spec.rank, spec.alpha, trainable, spec.seed)


def default_lr(spec: RecoverSpec, source: str) -> float:
    """The learning rate where none is given."""
    if spec.arm == LOCAL_RECONSTRUCTION:
        return EMBEDDED_LOCAL_LR if knows_the_suite(source) else LOCAL_LR
    if knows_the_suite(source):
        return EMBEDDED_LR
    return PAPER_LR if spec.adapter is None else ADAPTER_LR


def believed_manifest(source: str, model: Any) -> Mapping[str, Any]:
    """The manifest of the checkpoint that is trained; empty, with a note, where its weights are not those it describes."""
    folder = manifest_folder(source)
    origin = None if folder is None else Origin.read(folder)
    if origin is None:
        return {}
    if fault := origin.fault(weights_sha256(model)):
        say(f"note: the manifest of {source} is not believed: {fault}.", stderr=True)
        return {}
    if origin.unverifiable:
        say(
            f"note: the manifest of {source} holds no hash of its weights, so it is believed as it is.",
            stderr=True,
        )
    _refuse_running(Running.of(origin.manifest), f"{source!r} has")
    return origin.manifest


def _refuse_running(running: Running, what: str) -> None:
    """Training sees the weights alone."""
    if running:
        raise UsageError(
            f"{what} {running.describe()}, which no training here sees. Recover the weights, and round the rest when the result is evaluated: "
            "lm_eval --model junkdna-pruned --model_args pretrained=DIR,kv_bits=4."
        )


def _is_quantized(model: Any, manifest: Mapping[str, Any]) -> bool:
    return (
        getattr(model.config, "quantization_config", None) is not None
        or manifest.get("kind") == "quantized"
        or bool(manifest.get("bits"))
    )


def _begin_quantized(
    model: Any, spec: RecoverSpec, prune_spec: PruneSpec | None, manifest: Mapping[str, Any]
) -> Start:
    if spec.adapter is None or spec.merge not in (None, "keep"):
        raise UsageError(
            "the checkpoint is quantized, and training its weights would take them off their grid: only an adapter can be "
            "trained beside them. Give adapter=lora or adapter=dora, with merge=keep."
        )
    if spec.needs_mask or prune_spec is not None:
        raise UsageError(
            f"arm={spec.arm} needs a mask, and the checkpoint is quantized. Use arm=dense_transfer."
        )
    known = {name: value for name, value in manifest.items() if value is not None}
    block = {"method": "quantized", "kind": "quantized", **known, "weights_sha256": weights_sha256(model)}
    return Start({}, block, HoldWeights({}), stored_codes=True)


def _dense_block(model: Any, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Dense transfer begins from the model as it is: dense, or (manifest) what it already is."""
    if manifest:
        return {"weights_sha256": weights_sha256(model)}
    return {
        "kind": "pruned",
        "method": "dense",
        "level": 0.0,
        "pattern": None,
        "bits": None,
        "weights_sha256": weights_sha256(model),
    }


def _pruned_block(
    model: Any, tokenizer: Any, prune_spec: PruneSpec | None, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    report = prune(
        model, prune_spec or PruneSpec(method="none"), tokenizer=tokenizer, manifest=manifest
    ).to_dict()
    if prune_spec is None and manifest:
        return {**report, **manifest, "weights_sha256": report["weights_sha256"]}
    return {**report, "method": report["method"] if prune_spec is not None else "pruned"}
