"""`junkdna inspect`: what a compressed checkpoint is, and whether it still is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from difficulty.runs.running import Running
from junkdna_harness.presentation.console import say, say_json


def inspect(
    folder: Annotated[Path, typer.Argument(help="A folder that junkdna prune or junkdna quantize wrote.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifest and the checks as JSON.")
    ] = False,
) -> None:
    """Show what a checkpoint is, and verify that it still is.

    Exit codes: 0 all as written, 1 a tensor changed, is missing or is new, 2 wrong usage.
    """
    import json
    from dataclasses import asdict

    from junkdna_harness.compress.checkpoint import inspect_checkpoint
    from junkdna_harness.presentation.lines import paragraph, show_lines

    found = inspect_checkpoint(folder)
    if as_json:
        manifest = {name: value for name, value in found.manifest.items() if name != "tensors"}
        checks = [asdict(tensor) for tensor in found.tensors]
        say_json(json.dumps({"intact": found.intact, "manifest": manifest, "tensors": checks}, indent=1))
    else:
        for line in facts_of(folder, found.manifest):
            show_lines(paragraph(line, indent=" " * 16))
        _print_tensors(found.tensors)
    bad = [tensor for tensor in found.tensors if tensor.state != "ok"]
    if bad:
        names = ", ".join(f"{tensor.name} ({tensor.state})" for tensor in bad[:5])
        say(f"junkdna: {len(bad)} of {len(found.tensors)} tensors are not as written: {names}", stderr=True)
        raise typer.Exit(1)
    say(f"{len(found.tensors)} tensors verified: hashes and zeros are as written.", stderr=as_json)


def facts_of(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """The manifest's main values, one per line.

    Raises:
        UsageError: one of them is of a kind that none has.
    """
    from difficulty.json_files import of_known_shape
    from difficulty.runs.checkpoint import MANIFEST

    with of_known_shape(folder / MANIFEST, "the manifest", "Bring back the file as it was written."):
        return _facts(manifest)


def _facts(manifest: dict[str, Any]) -> list[str]:
    """The manifest's main values, one per line."""
    source = (manifest.get("source") or {}).get("pretrained", "unknown")
    calibration = manifest.get("calibration")
    seen = (
        f"{calibration['nsamples']} x {calibration['seqlen']} tokens of {calibration['source']}"
        if calibration
        else "none"
    )
    bits = manifest.get("bits")
    by = f" by {manifest['quantizer']}" if manifest.get("quantizer") else ""
    base, created = manifest.get("base_model"), manifest.get("created")
    lines = [
        f"source          {source}",
        *([f"base model      {base}"] if base else []),
        *([f"created         {created}"] if created else []),
        f"method          {manifest.get('method')}, seed {manifest.get('seed')}",
        *([f"on top of       {manifest['on_top_of']}"] if manifest.get("on_top_of") else []),
        f"pattern         {manifest.get('pattern')}, scope {manifest.get('scope')}",
        *_allocation(manifest.get("allocation")),
        *_structure(manifest.get("structure")),
        *([f"level           {manifest['level']:g}"] if manifest.get("level") is not None else []),
        *([f"bits            {bits:g}{by}, group size {manifest.get('group_size')}"] if bits else []),
        f"effective bits  {manifest.get('effective_bits', 0):.3f} per targeted weight",
        *_running(manifest),
        f"sparsity        {_share(manifest.get('sparsity_targeted'))} of targeted, {_share(manifest.get('sparsity_all'))} of all",
        f"calibration     {seen}",
        f"weights sha256  {manifest.get('weights_sha256')}",
    ]
    return [*lines, *(f"warning         {text}" for text in manifest.get("warnings", []))]


def _allocation(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    shares = found["sparsity_by_block"].values()
    return [f"allocation      {found['name']}, {min(shares):.4f} to {max(shares):.4f} of a block"]


def _structure(found: dict[str, Any] | None) -> list[str]:
    """Which parts are gone."""
    if not found:
        return []
    removed, unit = found["removed"], found["unit"]
    first = removed if isinstance(removed, list) else next(iter(removed.values()))
    each = "" if isinstance(removed, list) else f" in each of {len(removed)} blocks"
    which = f": {', '.join(map(str, removed))}" if isinstance(removed, list) else ""
    return [f"gone            {len(first)} of {found['of']} {unit}{each}{which}, by {found['criterion']}"]


def _running(manifest: dict[str, Any]) -> list[str]:
    """What is rounded while the model runs."""
    lines = []
    if running := Running.of(manifest):
        lines.append(f"while it runs   {running.describe()}")
    if running.kv_bits is not None:
        lines.append(
            f"cache           {manifest.get('kv_effective_bits', 0):.3f} bits per number; at {manifest.get('kv_tokens')} tokens it saves "
            f"{manifest.get('kv_saved_bits', 0):.3f} bits per targeted weight"
        )
    return lines


def _share(value: float | None) -> str:
    """A fraction with four decimals; packed codes have none that could be counted."""
    return "unknown" if value is None else f"{value:.4f}"


def _print_tensors(tensors: Any) -> None:
    from junkdna_harness.presentation.lines import show_lines
    from junkdna_harness.presentation.table import Column, table

    columns = [
        Column("tensor", told=False),
        *(Column(name, "number") for name in ("weights", "zeros", "sparsity")),
    ]
    rows = []
    for tensor in tensors:
        share = f"{tensor.zeros / tensor.numel:.4f}" if tensor.numel else "-"
        rows.append([tensor.name, f"{tensor.numel:,}", f"{tensor.zeros:,}", share, tensor.state])
    show_lines([[], *table([*columns, Column("state", "text")], rows), []])
