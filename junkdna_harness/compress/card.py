"""The model card of a checkpoint (`README.md`): what its manifest says, for people and for the Hugging Face Hub.

What of the source's card stays true of the new model (its licence, its languages) is taken over; the card itself goes along as
`README_source.md`. The fields of the front matter: huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import read_text
from difficulty.runs.checkpoint import EMBEDDED_NAMES, as_path, plain_name
from difficulty.runs.running import Running
from junkdna_harness.presentation.escape import markdown_cell, one_line
from junkdna_harness.yaml_values import yaml_of

CARD = "README.md"
OF_SOURCE = "README_source.md"  # the source's own card, in the new checkpoint
TAG = "junkdna-harness"
_INHERITED = ("license", "license_name", "license_link", "language")
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_ADAPTER = "AutoPeft"  # how the name of a class begins that loads an adapter
_LONGEST = 200  # characters of a value that is taken over
PRUNED_BY = "pruned_by"  # of a recovery: the recipe by which it pruned the model first


def front_matter(folder: Path) -> dict[str, Any]:
    """The fields of the card in `folder`; empty where there is none, or none that can be read."""
    with suppress(UsageError):
        found = _FRONT.match(read_text(folder / CARD, "model card", "Restore it."))
        values = yaml_of(found.group(1), "model card", "Restore it.") if found else None
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if isinstance(name, str)}
    return {}


def is_ours(fields: Mapping[str, Any]) -> bool:
    """True for the fields of a card that was written here."""
    tags = fields.get("tags")
    return isinstance(tags, list) and TAG in tags


def inherited(source: str | None, folder: Path | None) -> dict[str, Any]:
    """What a card takes over from that of the model `source`, whose files lie in `folder`: licence, languages, and of which model
    of the Hub it comes."""
    if source is not None and plain_name(source) in EMBEDDED_NAMES:
        return {"license": "apache-2.0"}  # that of this package
    fields = {} if folder is None else front_matter(folder)
    found = {name: fields[name] for name in _INHERITED if _fit(fields.get(name))}
    if source is not None and _HUB_ID.fullmatch(source) and not as_path(source).exists():
        found["base_model"] = source
    elif is_ours(fields) and _HUB_ID.fullmatch(str(fields.get("base_model"))):
        found["base_model"] = fields["base_model"]
    return found


def _fit(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return 0 < len(values) <= 100 and all(
        isinstance(one, str) and 0 < len(one) <= _LONGEST and one.isprintable() for one in values
    )


def write_card(
    folder: Path,
    manifest: Mapping[str, Any],
    name: str,
    source: Path | None,
    auto: str = "AutoModelForCausalLM",
    code: bool = False,
) -> None:
    """Write the card of the checkpoint in `folder`; `source` is the folder of what was compressed, where that is known.

    The other arguments are those of `card_text`.
    """
    came_from = manifest.get("source") or {}
    taken = inherited(came_from.get("pretrained") or came_from.get("model"), source)
    (folder / CARD).write_text(card_text(manifest, name, taken, auto, code), encoding="utf-8")


def card_text(
    manifest: Mapping[str, Any],
    name: str,
    taken: Mapping[str, Any],
    auto: str = "AutoModelForCausalLM",
    code: bool = False,
) -> str:
    """The card of a checkpoint, from its manifest.

    `name` is what it is loaded by: an id of the Hub, or a folder's name. `taken` is what `inherited` found, `auto` the class of
    transformers that loads it (of peft for an adapter), and `code` tells that code of its own comes with it.
    """
    adapter = auto.startswith(_ADAPTER)
    loaded_by = f"pretrained={_source(manifest)},peft={name}" if adapter else f"pretrained={name}"
    parts = [
        f"# {markdown_cell(_title(manifest))}",
        f"{_what(manifest)} Made with junkdna-harness; `junkdna.json` holds all that is known of it.",
        _table(manifest),
        "## How to load it",
        _load(name, auto, code),
        "## How to evaluate it",
        _fenced("bash", f"lm_eval --model junkdna-pruned --model_args {shlex.quote(one_line(loaded_by))} --tasks difficulty_tiers"),
    ]  # fmt: skip
    if command := made_by(manifest):
        parts += ["## How it was made", _fenced("bash", command)]
    parts += ["## Limits", *(f"- {line}" for line in _limits(manifest))]
    front = _fields(manifest, taken, auto).to_yaml(line_break="\n")
    return f"---\n{front}\n---\n\n" + _paragraphs(parts) + "\n"


def _paragraphs(parts: list[str]) -> str:
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        apart = "" if not text else "\n" if before.startswith("- ") and part.startswith("- ") else "\n\n"
        text += apart + part
    return text


def _fields(manifest: Mapping[str, Any], taken: Mapping[str, Any], auto: str) -> Any:
    from huggingface_hub import ModelCardData

    adapter, bits = auto.startswith(_ADAPTER), _is_quantized(manifest)
    relation = (
        "adapter" if adapter else "quantized" if bits else "finetune" if manifest.get("recovery") else None
    )
    named = "base_model" in taken and relation
    return ModelCardData(
        **taken,
        **({"base_model_relation": relation} if named else {}),
        library_name="peft" if adapter else "transformers",
        **({"pipeline_tag": "text-generation"} if "Causal" in auto else {}),
        tags=list(dict.fromkeys(_tags(manifest))),
    )


def _tags(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield TAG
    if _is_pruned(manifest):
        yield from ("pruned", "sparse")
    if _is_quantized(manifest):
        yield "quantized"
    if manifest.get("recovery"):
        yield "recovered"
    for name in (manifest.get("method"), manifest.get("quantizer")):
        for part in re.split(r"[+@\s]", str(name or "")):
            if re.fullmatch(r"[a-z][\w.-]{1,40}", part):
                yield part


def _is_pruned(manifest: Mapping[str, Any]) -> bool:
    return bool(manifest.get("level") or manifest.get("structure"))


def _is_quantized(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("kind") == "quantized" or manifest.get("bits") is not None


def _source(manifest: Mapping[str, Any]) -> str:
    """The name of what was compressed; of a path the last part alone, for the rest is of the machine."""
    source = manifest.get("source") or {}
    name = str(source.get("pretrained") or source.get("model") or manifest.get("base_model") or "MODEL")
    if as_path(name).is_absolute() or name.startswith("~"):
        return Path(name).name or name
    return plain_name(name)


def _title(manifest: Mapping[str, Any]) -> str:
    done = [str(manifest.get("method") or "compressed")]
    pattern, bits = manifest.get("pattern"), manifest.get("bits")
    if pattern is not None and str(pattern) not in done[0]:
        done.append(f"pattern {pattern}" if ":" in str(pattern) else f"sparsity {pattern}")
    if isinstance(bits, (int, float)):
        done.append(f"{bits:g} bits")
    return f"{_source(manifest)}: {', '.join(done)}"


def _what(manifest: Mapping[str, Any]) -> str:
    verbs = [verb for verb, true in (("pruned", _is_pruned(manifest)), ("quantized", _is_quantized(manifest)), ("trained after it", manifest.get("recovery"))) if true]  # fmt: skip
    done = " and ".join(verbs) if verbs and verbs[0] != "trained after it" else "trained" if verbs else "left"
    whole = "" if verbs else " as it was"
    return f"{markdown_cell(_source(manifest))}, {done}{whole}."


def _table(manifest: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {markdown_cell(value)} |" for name, value in _rows(manifest) if value]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, its value) of each row; '' where nothing is known."""

    def of(name: str, form: str = "") -> str:
        value = manifest.get(name)
        return "" if value in (None, "", [], ()) else _shown(value, form)

    yield "method", of("method")
    yield "pattern or sparsity asked for", of("pattern") or of("requested_sparsity", "g")
    yield "scope", of("scope")
    yield "zeros among the targeted weights", of("sparsity_targeted", ".4f")
    yield "zeros among all weights", of("sparsity_all", ".4f")
    yield "allocation", _shown((manifest.get("allocation") or {}).get("name"))
    yield "removed whole", _structure(manifest)
    yield "bits", of("bits", "g")
    yield "quantizer", of("quantizer")
    yield "group size", of("group_size")
    yield "symmetric", of("symmetric")
    yield "act order", of("act_order")
    yield "effective bits per targeted weight", of("effective_bits", ".3f")
    yield "effective bits per weight of the model", of("effective_bits_all", ".3f")
    yield "targets", of("targets")
    yield "left out", of("exclude")
    yield "while it runs", Running.of(manifest).describe() if Running.of(manifest) else ""
    yield "calibration", _pairs(manifest.get("calibration"))
    yield "seed", of("seed")
    yield "replicate", of("replicate")
    yield "training after it", _recovery(manifest)
    yield "before", _pairs(manifest.get("before"))
    yield "base model", _shown(manifest.get("base_model") and _base(manifest))
    yield "SHA-256 of the weights", of("weights_sha256")
    yield "made", of("created")
    yield "versions", _pairs(manifest.get("versions"))
    yield "warnings", "; ".join(map(str, manifest.get("warnings") or ()))


def _base(manifest: Mapping[str, Any]) -> str:
    name = str(manifest["base_model"])
    return Path(name).name if as_path(name).is_absolute() else name


def _structure(manifest: Mapping[str, Any]) -> str:
    parts = manifest.get("structure")
    if not isinstance(parts, Mapping):
        return ""
    return _pairs({name: parts.get(name) for name in ("unit", "criterion", "of", "removed", "gone")})


def _recovery(manifest: Mapping[str, Any]) -> str:
    done = manifest.get("recovery")
    if not isinstance(done, Mapping):
        return ""
    names = ("arm", "data", "fraction", "steps_done", "tokens_seen", "lr", "seed", "adapter", "adapter_merged", "first_loss", "last_loss")  # fmt: skip
    return _pairs({name: done.get(name) for name in names})


def _pairs(values: object) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items() if value is not None)


def _shown(value: object, form: str = "") -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return format(value, form or ("g" if isinstance(value, float) else ""))
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    return json.dumps(value, default=str) if isinstance(value, Mapping) else str(value)


def _load(name: str, auto: str, code: bool) -> str:
    library = "peft" if auto.startswith(_ADAPTER) else "transformers"
    given = json.dumps(one_line(name)) + (", trust_remote_code=True" if code else "")
    imports = (
        f"from transformers import {auto}, AutoTokenizer"
        if library == "transformers"
        else f"from peft import {auto}\nfrom transformers import AutoTokenizer"
    )
    return _fenced(
        "python",
        f"{imports}\n\nmodel = {auto}.from_pretrained({given})\ntokenizer = AutoTokenizer.from_pretrained({given})",
    )


def made_by(manifest: Mapping[str, Any]) -> str:
    """The command that makes such a checkpoint, as far as the manifest tells; '' where it does not."""
    training = manifest.get("recovery")
    if isinstance(training, Mapping):
        return _recover_command(manifest, training)
    recipe = manifest.get("recipe")
    if not isinstance(recipe, Mapping) or len(recipe) != 1:
        return ""
    verb, values = next(iter(recipe.items()))
    source = manifest.get("source") or {}
    more = {name: source[name] for name in ("revision", "gguf_file") if source.get(name) is not None}
    return _command(verb, _source(manifest), {**values, **more})


def _recover_command(manifest: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    names = ("arm", "data", "fraction", "steps", "batch_size", "lr", "seed", "max_length", "adapter", "rank", "merge", "freeze", "early_stop")  # fmt: skip
    values = {name: training[name] for name in names if training.get(name) is not None}
    if "adapter" not in values:
        values.pop("rank", None)
    if values.get("arm") != "dense_freezing":
        values.pop("freeze", None)
    trainer = training.get("trainer")
    more = [f"{name}={json.dumps(value)}" for name, value in trainer.items()] if isinstance(trainer, Mapping) else []  # fmt: skip
    return _command("recover", _source(manifest), {**values, **_pruned_first(training)}, more)


def _pruned_first(training: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `recover` that prune, where the recovery did that itself."""
    asked = training.get(PRUNED_BY)
    values = asked.get("prune") if isinstance(asked, Mapping) else None
    known = ("method", "sparsity", "pattern", "mask", "calibration", "mask_seed")
    return {name: values[name] for name in known if name in values} if isinstance(values, Mapping) else {}


def _command(verb: str, source: str, values: Mapping[str, Any], trainer: list[str] | None = None) -> str:
    words = ["junkdna", str(verb), source]
    for name, value in values.items():
        flag = "--" + str(name).replace("_", "-")
        if isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, (list, tuple)):
            words += [flag, ";".join(map(str, value))]
        else:
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    for pair in trainer or []:
        words += ["--trainer", pair]
    return " ".join(shlex.quote(one_line(word)) for word in [*words, "--output", "DIR"])


def _limits(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the checkpoint is not."""
    if _is_pruned(manifest) and not manifest.get("structure"):
        yield "Zeros are stored densely. They save no memory and no time unless software that uses them runs the model."
    if _is_quantized(manifest):
        stored = manifest.get("sparsity_targeted") is None
        yield (
            "Weights are stored as packed codes, and need the library that reads their format."
            if stored
            else "Quantization is simulated: rounded weights are stored as ordinary numbers. Effective bits are what a packed copy would take."
        )
    if running := Running.of(manifest):
        yield (
            f"Weights cannot hold {markdown_cell(running.describe())}: `junkdna-pruned` rounds that while the model runs, and a plain load "
            "with transformers does not."
        )
    yield "Scores of the source are not those of this model. Evaluate it before you use it."


def _fenced(language: str, text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
