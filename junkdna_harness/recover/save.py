"""The result on disk: a checkpoint that transformers loads without us, and a manifest of how it came to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.files import real_path, write_atomic
from difficulty.runs.checkpoint import CLEARLY_SPARSE, MANIFEST, NONE, UNKNOWN, method_of
from difficulty.runs.identity import DENSE, Method
from junkdna_harness.compress.again import expect, refuse_another
from junkdna_harness.compress.card import write_card
from junkdna_harness.compress.carried import carry_over, source_folder
from junkdna_harness.compress.checkpoint import describe_tensors, forget_packing
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.loading import auto_class
from junkdna_harness.compress.manifest import origin
from junkdna_harness.compress.pruning import measure
from junkdna_harness.output_folder import output_folder
from junkdna_harness.recover.adapters import merge_adapter
from junkdna_harness.recover.spec import RecoverSpec
from junkdna_harness.recover.storage import while_writing
from junkdna_harness.recover.training import Training

if TYPE_CHECKING:
    from junkdna_harness.recover.start import Start

LOG = "train_log.jsonl"


def save(
    trained: Any, tokenizer: Any, output: Path, spec: RecoverSpec, start: Start, training: Training,
    facts: Mapping[str, Any], believed: bool, force: bool = False, name: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The manifest, after writing it with the model (adapters merged, unless kept), tokenizer and log to `output`.

    `believed`: the source's manifest is of its weights. `name` is what the card calls the checkpoint, its folder's name where it is left out.
    """
    keep = spec.adapter is not None and (spec.merge == "keep" or start.stored_codes)
    model = trained if spec.adapter is None or keep else merge_adapter(trained)
    if not start.stored_codes:
        forget_packing(model)
    came_from = origin({"model": facts["source"]}, believed)  # before the folder is written
    expected = expect(model) if not keep and training.state is None else None
    with output_folder(output, force, facts["source"]) as folder, while_writing(folder):
        if training.state is None:
            model.save_pretrained(folder)
        else:  # sharded: gathered on this process
            model.save_pretrained(folder, state_dict=dict(training.state))
        tokenizer.save_pretrained(folder)
        there = source_folder(facts["source"])
        left = [] if keep or there is None else carry_over(there, folder)
        manifest = make_manifest(model, spec, start, training, facts, keep)
        manifest |= {"source": {"model": facts["source"]}, **came_from, "tensors": describe_tensors(folder)}
        manifest |= {"left_behind": left} if left else {}
        write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        auto = "AutoPeftModelForCausalLM" if keep else auto_class(model.config).__name__
        write_card(folder, manifest, name or real_path(output).name, there, auto)
        write_atomic(folder / LOG, "".join(json.dumps(row) + "\n" for row in training.log))
        if expected is not None:
            refuse_another(folder, expected)
    return manifest


def make_manifest(
    model: Any, spec: RecoverSpec, start: Start, training: Training, facts: Mapping[str, Any], keep: bool
) -> dict[str, Any]:
    """The `junkdna` block of the model before recovery, brought up to date, with what was done under `recovery`."""
    block = dict(start.block)
    before = block.get("weights_sha256")
    block |= {"method": str(method_before(block).then(spec.recovery)), "on_top_of": None}
    if not keep and training.state is None:
        now = measure(model).to_dict()
        for name in (
            "sparsity_targeted",
            "sparsity_all",
            "sparsity_by_module",
            "weights_sha256",
            "effective_bits",
            "effective_bits_all",
        ):
            block[name] = now[name]
    elif keep:
        block["weights_sha256"] = weights_sha256(model)
    recovery = {
        **({"before": block["recovery"]} if block.get("recovery") else {}),  # it was recovered already
        **spec.to_dict(),
        **facts,
        "adapter_merged": None
        if spec.adapter is None
        else ("no" if keep else "masked" if spec.under_mask else "dense"),
        "weights_sha256_before": before,
        "steps_done": training.steps,
        "tokens_seen": training.tokens,
        "seconds": round(training.seconds, 1),
        "first_loss": training.first_loss,
        "last_loss": training.last_loss,
        **({"blocks": list(training.blocks)} if training.blocks else {}),
        "stopped": training.stopped,
        "failed": training.failed,
        "versions": {name: version(name) for name in ("transformers", "accelerate", "torch", "peft")},
    }
    warnings = list(block.get("warnings") or [])
    return {
        **block,
        "kind": block.get("kind") or "pruned",
        "model": facts["source"],
        "warnings": warnings,
        "recovery": recovery,
    }


def method_before(block: Mapping[str, Any]) -> Method:
    """What was done before this training, in the words of the tidy table."""
    method = method_of(block)
    if method != Method(NONE):
        return method
    return Method(UNKNOWN if (block.get("sparsity_targeted") or 0) >= CLEARLY_SPARSE else DENSE)
