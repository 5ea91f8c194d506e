"""What `junkdna prune` and `junkdna quantize` share: options, a progress bar, the check that comes first, the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difficulty.errors import UsageError
from junkdna_harness.commands.pushing import push
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.schema import help_of
from junkdna_harness.presentation.console import say

if TYPE_CHECKING:
    from junkdna_harness.compress.loading import Source
    from junkdna_harness.compress.report import CompressionReport
    from junkdna_harness.compress.spec import PruneSpec
    from junkdna_harness.hub import Repository

Progress = Callable[[int, int, str], None]

Pretrained = Annotated[
    str | None,
    typer.Argument(help="Checkpoint folder, hub id or smollm2-135m; left out: the embedded model."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the new checkpoint.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, or auto (several devices); default cuda where there is one.")
]
Revision = Annotated[str | None, typer.Option(help="Of a hub model.")]
GGUFFile = Annotated[str | None, typer.Option(help="Name of a GGUF file in the checkpoint's folder.")]
TrustRemoteCode = Annotated[bool, typer.Option(help="Run code that comes with the checkpoint.")]
Force = Annotated[bool, typer.Option(help="Replace the output folder if it is not empty.")]
DryRun = Annotated[
    bool,
    typer.Option(
        help="Print the estimate of time and memory, look whether all that is needed is there, and stop."
    ),
]


Recipe = Annotated[
    Path | None,
    typer.Option(help="YAML of what to do: modifiers of llm-compressor, or the recipe of a junkdna.json."),
]


def option(spec: type, name: str, *flags: str) -> Any:
    """The option of a spec's field, with the help that stands there."""
    return typer.Option(*flags, help=help_of(spec, name))


def given_ones(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def with_recipe(command: str, recipe: Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, and those of a recipe, which must be for this command and name none of them otherwise.

    Raises:
        UsageError: the recipe cannot be used.
    """
    values = given_ones(given)
    if recipe is None:
        return values
    from junkdna_harness.compress.recipe import read_recipe

    told, asked = read_recipe(recipe)
    if told != command:
        raise UsageError(f"recipe {str(recipe)!r} says what junkdna {told} does. Give it to that command.")
    for name in asked.keys() & values.keys():
        if str(asked[name]) != str(values[name]):
            raise UsageError(
                f"recipe {str(recipe)!r} says {name}={asked[name]}, and {name}={values[name]} was given. Leave one of the two out."
            )
    return {**asked, **values}


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """What moves a bar on stderr with each call (done, total, label)."""
    from junkdna_harness.presentation.progress import Meter

    with Meter(what) as meter:
        yield lambda done, total, label: meter.move(done, total, told=label)


def check_output(output: Path | None, force: bool, needed: bool, source: str | None) -> None:
    """Refuse, before anything is read, an output that could not be written.

    Raises:
        UsageError: there is none, or see `check_output_folder`.
    """
    if output is None:
        if needed:
            raise UsageError("nothing would be kept. Give --output DIR, or --dry-run to see the cost alone.")
        return
    from junkdna_harness.output_folder import check_output_folder

    check_output_folder(output, force, source)


def look_first(
    source: Source, spec: PruneSpec | QuantSpec, output: Path | None, force: bool, dry_run: bool
) -> None:
    """Print what it will cost, and look whether all is there that is read, and whether there is room; a dry run looks for memory too,
    and says what it looked for.

    Raises:
        UsageError: something is not there, or there is no room.
    """
    from junkdna_harness.arguments import resolve_pretrained
    from junkdna_harness.compress.before import refuse_a_rounded_file
    from junkdna_harness.compress.checkpoint_files import check_checkpoint
    from junkdna_harness.compress.estimate import estimate_of
    from junkdna_harness.compress.loading import load_tokenizer
    from junkdna_harness.compress.manifest import manifest_of
    from junkdna_harness.compress.sources import check_spec
    from junkdna_harness.device import default_device
    from junkdna_harness.output_folder import check_output_folder
    from junkdna_harness.presentation.lines import show_text
    from junkdna_harness.resources import check_room

    rounding = spec.rounds_weights if isinstance(spec, QuantSpec) else spec.bits is not None
    if rounding and source.gguf_file is not None:
        check_checkpoint(source.pretrained, source.gguf_file, source.trust_remote_code, source.revision)
        refuse_a_rounded_file(manifest_of(source.name, source.revision, source.gguf_file))
    cost = estimate_of(source, spec)
    say(f"{source.name}: {cost.describe()}", stderr=True)
    if output is not None:
        check_output_folder(output, force, source.pretrained, cost.model_bytes)
    found = list(check_spec(spec, resolve_pretrained(source.pretrained)))
    if not dry_run:
        return
    load_tokenizer(source)
    on_cpu = (source.device or default_device()) == "cpu"
    for line in (*found, *check_room(cost.peak_bytes if on_cpu else None, cost.model_bytes, output)):
        show_text(f"checked: {line}")


def compress(
    source: Source,
    spec: PruneSpec | QuantSpec,
    change: Callable[..., CompressionReport],
    output: Path | None,
    force: bool,
    dry_run: bool,
    also: Callable[[Any, CompressionReport], None] | None = None,
    repository: Repository | None = None,
) -> None:
    """Load a model, call `change`, and write it; a dry run prints the cost, looks whether all is there that is read, and whether there is
    room, and ends. `also` is called before the checkpoint is written, which takes the model's place in memory; it is uploaded to `repository`.

    Raises:
        UsageError: the model, the spec or the output cannot be used.
        PushError: the checkpoint is written, and could not be uploaded.
    """
    from junkdna_harness.compress.checkpoint import save_checkpoint
    from junkdna_harness.compress.loading import load
    from junkdna_harness.compress.manifest import manifest_of
    from junkdna_harness.compress.recipe import recipe_of
    from junkdna_harness.compress.running import stop_running
    from junkdna_harness.presentation.lines import show_text

    look_first(source, spec, output, force, dry_run)
    if dry_run:
        return
    model, tokenizer = load(source)  # first, for it brings a hub model here
    manifest = manifest_of(source.name, source.revision, source.gguf_file)
    with progress_bar(spec.method) as progress:
        report = change(model, spec, tokenizer, progress, manifest=manifest)
    show_text(f"{report.summary()} ({report.seconds:.1f} s)")
    for warning in report.warnings:
        say(f"warning: {warning}", stderr=True)
    if also is not None:
        also(model, report)
    if output is None:
        return
    stop_running(model)  # what is rounded while it runs is no part of what is written
    written = save_checkpoint(
        model,
        tokenizer,
        report,
        output,
        source.to_dict(),
        force,
        code=source.trust_remote_code,
        last=True,
        recipe=recipe_of(spec),
        name=None if repository is None else repository.name,
    )
    for warning in written["warnings"][len(report.warnings) :]:
        say(f"warning: {warning}", stderr=True)
    for name in written.get("left_behind", ()):
        say(f"warning: not carried over from {source.name}: {name}", stderr=True)
    if spec.running:
        say(
            f"warning: the checkpoint's weights cannot hold {spec.running.describe()}; junkdna's wrappers round that while the model runs, "
            "and a plain hf load does not",
            stderr=True,
        )
    say(f"checkpoint: {output}")
    if repository is not None:
        push(output, repository, report.summary())
