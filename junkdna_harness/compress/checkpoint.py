"""Compressed models as ordinary checkpoints: dense safetensors with exact zeros, and `junkdna.json` beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from difficulty.errors import UsageError
from difficulty.files import cannot_write, real_path
from difficulty.runs.checkpoint import MANIFEST as MANIFEST
from difficulty.runs.checkpoint import read_manifest
from junkdna_harness.compress.again import expect, refuse_another, release
from junkdna_harness.compress.before import not_believed
from junkdna_harness.compress.card import write_card
from junkdna_harness.compress.carried import carry_over, source_folder
from junkdna_harness.compress.checks import without_adapters
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.loading import auto_class
from junkdna_harness.compress.manifest import origin
from junkdna_harness.compress.report import CompressionReport
from junkdna_harness.compress.stored import stored_tensors
from junkdna_harness.output_folder import output_folder

NOT_FINITE = "its logits are NaN or infinite for a few tokens, so it cannot be evaluated"


@dataclass(frozen=True)
class TensorCheck:
    """One stored tensor against the manifest; `state` is 'ok', 'changed', 'missing' or 'unknown' (not in it)."""

    name: str
    state: str
    numel: int
    zeros: int
    zeros_expected: int


@dataclass(frozen=True)
class Inspection:
    """A checkpoint folder read again: its manifest, and every tensor in its files."""

    manifest: dict[str, Any]
    tensors: tuple[TensorCheck, ...]

    @property
    def intact(self) -> bool:
        """True if every tensor is what the manifest says."""
        return all(tensor.state == "ok" for tensor in self.tensors)


def save_checkpoint(
    model: Any,
    tokenizer: Any,
    report: CompressionReport,
    folder: str | Path,
    source: dict[str, Any] | None = None,
    force: bool = False,
    *,
    code: bool = False,
    last: bool = False,
    recipe: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """The manifest, after writing model, tokenizer, manifest and model card to `folder`, which appears whole or not at all.

    `recipe` is what was asked for (`recipe.recipe_of`), `name` what the card calls the checkpoint: its folder's name, or that on the Hub. What else lies in the folder of `source` goes along (`carry_over`; `code`: its code too). The checkpoint is loaded again before
    it appears; with `last`, in place of `model`, whose weights are given up: memory never holds two models.

    Raises:
        UsageError: the folder is not empty and `force` is not set, or it cannot be written, or what was written is another model.
        StorageError: the disk is full or fails.
    """
    from safetensors import SafetensorError

    came_from = origin(
        source or {}, not not_believed(report.warnings)
    )  # before the folder is written, which may be the source itself
    forget_packing(model)
    if (alone := without_adapters(model)) is not model:
        by_module = {
            name.removeprefix("base_model.model.").removesuffix(".base_layer"): share
            for name, share in report.sparsity_by_module.items()
        }
        model = alone
        report = replace(report, weights_sha256=weights_sha256(alone), sparsity_by_module=by_module)
    expected = expect(model)
    if not expected.finite:
        report = replace(report, warnings=(*report.warnings, NOT_FINITE))
    with output_folder(folder, force, (source or {}).get("pretrained")) as temporary:
        try:
            model.save_pretrained(temporary)
            if tokenizer is not None:
                tokenizer.save_pretrained(temporary)
            there = source_folder((source or {}).get("pretrained"), (source or {}).get("revision"))
            left = [] if there is None else carry_over(there, temporary, code)
            manifest = {
                **report.to_dict(), "source": source or {}, **came_from, **({"left_behind": left} if left else {}), **({"recipe": dict(recipe)} if recipe else {}), "tensors": describe_tensors(temporary)
            }  # fmt: skip
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            own_code = code and bool(getattr(model.config, "auto_map", None))
            auto = auto_class(model.config).__name__
            write_card(temporary, manifest, name or real_path(folder).name, there, auto, own_code)
        except (OSError, SafetensorError) as error:
            raise cannot_write(folder, error) from error
        if last:
            release(model)
        refuse_another(temporary, expected, code)
    return manifest


def inspect_checkpoint(folder: str | Path) -> Inspection:
    """The manifest of `folder`, and each of its tensors hashed and counted again.

    Raises:
        UsageError: no such folder, no readable manifest, or unreadable weights.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(
            f"{str(folder)!r} is no folder. Name one that junkdna prune or junkdna quantize wrote."
        )
    manifest = _read_manifest(path)
    expected: dict[str, dict[str, Any]] = manifest["tensors"]
    found: dict[str, TensorCheck] = {}
    for stored in stored_tensors(path):
        entry = expected.get(stored.name)
        if entry is None:
            state = "unknown"
        else:
            same = stored.sha256 == entry["sha256"] and stored.zeros == entry["zeros"]
            state = "ok" if same else "changed"
        counted = entry["zeros"] if entry else 0
        found[stored.name] = TensorCheck(stored.name, state, stored.numel, stored.zeros, counted)
    for name in expected.keys() - found.keys():
        found[name] = TensorCheck(name, "missing", 0, 0, expected[name]["zeros"])
    return Inspection(manifest, tuple(found[name] for name in sorted(found)))


def forget_packing(model: nn.Module) -> None:
    """Take the mark off a model unpacked from GGUF, whose weights are plain floats by now."""
    config: Any = getattr(model, "config", None)
    if getattr(model, "hf_quantizer", None) is None and not hasattr(config, "quantization_config"):
        return
    values: Any = model
    values.is_quantized = False
    values.hf_quantizer = None
    if hasattr(config, "quantization_config"):
        del config.quantization_config


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.is_file():
        raise UsageError(
            f"{str(path)!r} has no {MANIFEST}, so it was not written by junkdna prune or quantize."
        )
    manifest = read_manifest(path)
    try:
        well_formed = isinstance(manifest["tensors"], dict) and all(
            isinstance(e["sha256"], str) and isinstance(e["zeros"], int) for e in manifest["tensors"].values()
        )
    except (KeyError, TypeError, AttributeError):
        well_formed = False
    if not well_formed:
        raise UsageError(f"{str(file)!r} is damaged: no list of tensors can be read from it.")
    return manifest


def describe_tensors(folder: Path) -> dict[str, dict[str, Any]]:
    """What a manifest holds of each stored tensor: its hash, shape, size and zeros."""
    return {
        stored.name: {
            "sha256": stored.sha256,
            "shape": list(stored.shape),
            "numel": stored.numel,
            "zeros": stored.zeros,
        }
        for stored in stored_tensors(folder)
    }
