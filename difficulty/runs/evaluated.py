"""Which run a results file of lm-eval is of, whatever evaluated it, and how that is known."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from difficulty.runs.checkpoint import (
    MANIFEST,
    find_folders,
    folder_of,
    know,
    of_block,
    packed_format,
    plain_name,
    read_manifest,
    run_of,
    snapshot,
    source_of,
)
from difficulty.runs.identity import DENSE, GUESS, Method, Run
from difficulty.runs.label import Label

# As llama.cpp names what it writes, e.g. m-Q4_K_M.gguf.
_GGUF = re.compile(
    r"(?:^|[-_.])((?:I?Q|TQ|MXFP|NVFP|BF|F)(\d+)(?:_(?:\d|K|S|M|L|XS|XXS|NL|MOE))*)$", re.IGNORECASE
)
# Arguments by which hf, vllm and others are told to quantize while they load.
_LOADING: Mapping[str, tuple[str, float]] = {
    "load_in_8bit": ("bnb-int8", 8.0),
    "load_in_4bit": ("bnb-nf4", 4.0),
}
_ADAPTERS = ("peft", "delta")
_MODELS = ("pretrained", "model", "path", "model_path")
_NAMING = (
    "quantization",
    "autogptq",
    "gptqmodel",
    "awq",
)  # their value names the format, or is the file that holds it
_METHODS: Mapping[str, str] = {"autogptq": "gptq", "gptqmodel": "gptq", "awq": "awq"}
_BITS: Mapping[str, float] = {"gptq": 4.0, "awq": 4.0, "bitsandbytes": 4.0, "fp8": 8.0}


@dataclass(frozen=True)
class Evaluated:
    """The run, its `junkdna` block or manifest (empty where there is none), and warnings."""

    run: Run
    manifest: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def evaluated(results: Mapping[str, Any], log: Path, label: Label | None = None) -> Evaluated:
    """The run of a results file. A `label` counts most, then what our wrappers wrote, then what the model's folder says.

    Where nothing can be read, the run is taken for the dense model and marked as a guess.

    Raises:
        UsageError: a manifest or configuration that would say it is damaged.
    """
    found = _unlabelled(results, log)
    if label is None:
        return found
    return replace(found, run=label.run(found.run.model))


def _unlabelled(results: Mapping[str, Any], log: Path) -> Evaluated:
    given = results.get("config")
    config: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    block = config.get("junkdna")
    arguments = model_arguments(config)
    name = _name(results, arguments)
    if isinstance(block, Mapping) and block:
        method, level, bits, notes = of_block(block, str(log))
        model = str(block.get("model") or name)
        again = block.get("noise_floor") is True and method == Method(DENSE) and bits is None
        run = Run(plain_name(model), method, level, bits, _replicate(block), "block", noise_floor=again)
        return Evaluated(run, block, notes)
    missing: list[str] = []
    for key, value in _named(arguments, name):
        places = find_folders(value, log)
        folder, notes = _choose(places, value, results)
        folder = folder or snapshot(value, None if key in _ADAPTERS else arguments.get("revision"))
        known = None if folder is None else know(folder)
        if known is None or folder is None:
            if key in _ADAPTERS:
                note = f"what the adapter {value!r} changed is written nowhere"
                return _guess(name, *notes, note)
            if folder is None and _is_path(value):
                missing.append(f"the folder {value!r} is neither near the log nor here")
            continue
        if written := _written_after(known.manifest, results):
            note = f"{str(folder / MANIFEST)!r} was written after this evaluation ({written}), so it may be of another model"
            return _guess(name, *notes, note)
        if key in _ADAPTERS:
            other, note = _other_base(folder, known.manifest, arguments, log)
            notes = (*notes, *([note] if note else []))
            if other:
                return _guess(name, *notes)
        if folder in places:
            notes = (*notes, *_younger(folder, known.manifest, results))
        run = run_of(known, name)
        for method_name, width in _told(arguments):
            if run.bits is None:
                base = Method(method_name) if run.is_dense else run.method
                run = replace(run, method=base, level=None if run.is_dense else run.level, bits=width)
        return Evaluated(run, known.manifest, (*known.notes, *notes))
    return _told_or_guess(arguments, name, missing)


def _told_or_guess(arguments: Mapping[str, Any], name: str, notes: Sequence[str]) -> Evaluated:
    """What the evaluator was told to do while loading, for want of anything to be read; else a guess."""
    for method_name, width in _told(arguments):
        run = Run(name, Method(method_name), None, width, known_by="arguments")
        return Evaluated(run, {}, tuple(notes))
    return _guess(name, *notes)


def _guess(name: str, *notes: str) -> Evaluated:
    return Evaluated(Run(name, Method(DENSE), known_by=GUESS), {}, notes)


def _other_base(
    adapter: Path, manifest: Mapping[str, Any], arguments: Mapping[str, Any], log: Path
) -> tuple[bool, str]:
    """Whether an adapter was evaluated on another model than it was trained on, as far as can be told; and a note."""
    given = next((str(arguments[key]) for key in _MODELS if arguments.get(key)), None)
    trained = source_of(manifest)
    if given is None or trained is None or plain_name(given) == plain_name(trained):
        return False, ""
    here = next(iter(find_folders(given, log)), None) or snapshot(given, arguments.get("revision"))
    there = folder_of(trained, adapter)
    if here is not None and there is not None:
        if here.resolve() == there.resolve() or _print_of(here) == _print_of(there):
            return False, ""
        return (
            True,
            f"the adapter {str(adapter)!r} was trained on {trained!r}, and evaluated on {given!r}, which is another model",
        )
    return (
        False,
        f"the adapter {str(adapter)!r} was trained on {trained!r}; whether {given!r} is the same cannot be seen from here",
    )


def _choose(
    places: Sequence[Path], name: str, results: Mapping[str, Any]
) -> tuple[Path | None, tuple[str, ...]]:
    """The folder that was evaluated, as far as can be told: not one that was made later; the nearest to the log. A note
    where others of that name hold something else."""
    there = [place for place in places if not _written_after(read_manifest(place), results)] or places
    if not there:
        return None, ()
    others = [place for place in there[1:] if _print_of(place) != _print_of(there[0])]
    if not others:
        return there[0], ()
    also = " and ".join(repr(str(place.absolute())) for place in others)
    return there[0], (
        f"{name!r} may be {str(there[0].absolute())!r}, which is nearest to the log and taken, or {also}, which is not the "
        f"same; if it was that, say so with junkdna label",
    )


def _print_of(folder: Path) -> tuple[object, ...]:
    """What tells model folders apart at a glance: the manifest and configuration, and the weights' sizes or, without a
    manifest, their first and last bytes."""
    texts = [(folder / name) for name in (MANIFEST, "config.json", "adapter_config.json")]
    written = tuple(path.read_bytes() if path.is_file() else b"" for path in texts)
    weights = [path for path in sorted(folder.glob("*")) if path.suffix in (".safetensors", ".bin", ".gguf")]
    return (*written, *((path.name, path.stat().st_size, _ends(path)) for path in weights))


def _ends(path: Path, most: int = 1 << 20) -> tuple[bytes, bytes]:
    with path.open("rb") as handle:
        first = handle.read(most)
        handle.seek(max(0, path.stat().st_size - most))
        return first, handle.read(most)


def _replicate(block: Mapping[str, Any]) -> int:
    """Which draw it is: 0 where the block does not say, or says no whole number."""
    given = block.get("replicate")
    return given if isinstance(given, int) and given >= 0 else 0


def model_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """`--model_args` as they are in a results file: a mapping, or text in older logs."""
    given = config.get("model_args")
    if isinstance(given, Mapping):
        return dict(given)
    parts = (part.partition("=") for part in str(given or "").split(","))
    return {name.strip(): value.strip() for name, equals, value in parts if equals}


def _name(results: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    for value in (results.get("model_name"), arguments.get("pretrained"), arguments.get("model")):
        if value not in (None, ""):
            return plain_name(str(value))
    return "model"


def _named(arguments: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """(argument, name) of what may say what was evaluated, the adapter's first: it is what was changed last."""
    keys = [key for key in (*_ADAPTERS, *_MODELS) if arguments.get(key) not in (None, "", True, False)]
    for key in keys:
        yield key, str(arguments[key])
    if not any(key in _MODELS for key in keys):
        yield "model", name


def _is_path(name: str) -> bool:
    """True for what can only be a folder, not a model of the hub."""
    return name.startswith((".", "~", "/")) or "\\" in name


def _told(arguments: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """What the arguments of the evaluator say of a quantization done while loading: (method, bits)."""
    for key, (method, bits) in _LOADING.items():
        if str(arguments.get(key)).lower() in ("true", "1"):
            yield method, bits
    packed = arguments.get("quantization_config")
    if isinstance(packed, Mapping):
        yield packed_format(packed)
    for key, value in arguments.items():
        method = _METHODS.get(key, str(value))
        if key in _NAMING and str(value).lower() not in ("", "none", "false", "auto", "safetensors"):
            yield method, _BITS.get(method, 8.0 if "8" in method else None)
    if file := arguments.get("gguf_file"):
        # A file in parts is called m-Q4_K_M-00001-of-00002.gguf.
        match = _GGUF.search(re.sub(r"(-\d+-of-\d+)?\.gguf$", "", str(file), flags=re.IGNORECASE))
        if match is None:
            yield "gguf", None
        elif match[1].upper().rstrip("0123456789") in ("F", "BF"):
            yield DENSE, None
        else:
            yield f"gguf-{match[1].lower()}", float(match[2])


def _written_after(manifest: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """When the manifest was written, if that was after the evaluation began; else nothing."""
    created, began = manifest.get("created"), _began(results)
    if not created or began is None:
        return ""
    try:
        moment = datetime.datetime.fromisoformat(str(created).replace("Z", "+00:00"))
    except ValueError:
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return str(created) if moment.timestamp() > began + 1 else ""


def _younger(folder: Path, manifest: Mapping[str, Any], results: Mapping[str, Any]) -> tuple[str, ...]:
    """Notes where the folder may not have been there when the evaluation began. Files that were copied are younger too, so
    this alone is no reason not to believe what they say."""
    began = _began(results)
    if began is None:
        return ()
    if folder.is_symlink() and folder.lstat().st_mtime > began + 1:
        return (
            f"{str(folder)!r} is a link that was set after this evaluation, so it may lead to another model now",
        )
    if manifest.get("created"):
        return ()
    said = [folder / MANIFEST] if manifest else sorted(folder.glob("*.safetensors"))
    late = [path for path in said if path.is_file() and path.stat().st_mtime > began + 1]
    if not late:
        return ()
    return (
        f"{str(late[0])!r} was written, or copied, after this evaluation; if it is of another model, say so with junkdna label",
    )


def _began(results: Mapping[str, Any]) -> float | None:
    """When the evaluation began, seconds since 1970."""
    began = results.get("date")
    return float(began) if isinstance(began, (int, float)) and not isinstance(began, bool) else None
