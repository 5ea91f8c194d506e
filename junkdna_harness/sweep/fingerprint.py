"""What a folder's runs have in common, by its content: the dense weights, the tokenizer, the calibration text, the items.

It is taken when a model is loaded, and kept beside the runs. A later start whose model has another one is refused before
anything is computed, because names and paths alone do not say what lies behind them.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.sweep.planned import spec_of

if TYPE_CHECKING:
    from junkdna_harness.compress.calibration import Calibration
    from junkdna_harness.sweep.plan import PlannedRun

SCHEMA = 1
# Their versions decide prompts, metrics and numbers, and the defaults that configurations are filled up with.
PACKAGES = ("lm-eval", "junkdna-harness", "transformers", "torch")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_GLANCES, _GLANCE_BYTES = 64, 4096
_FOLDER_ARGUMENTS = ("pretrained", "peft", "delta", "tokenizer")
_MODEL_FILES = ("*.safetensors", "*.bin", "*.gguf", "*.json", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Fingerprint:
    """sha256 of everything that a score depends on; None or empty where an older version did not record it.

    `dtype`: the numbers that forward passes are computed in, which are not those of the hashed weights where `auto-cpu` chose them.
    `calibrations`: source -> the tokens drawn (nsamples, seqlen, tokens_sha256). `items`: task -> its documents, prompts and
    targets. `task_configs`: task -> its configuration. `files`: a glance at the model's files, to be had without loading them.
    """

    weights_sha256: str | None = None
    dtype: str | None = None
    config_sha256: str | None = None
    tokenizer_sha256: str | None = None
    calibrations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    items: Mapping[str, str] = field(default_factory=dict)
    task_configs: Mapping[str, str] = field(default_factory=dict)
    task_versions: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    files: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that `to_dict` wrote.

        Raises:
            ValueError: another schema, or no fingerprint.
        """
        if values.get("schema") != SCHEMA:
            raise ValueError(f"schema {values.get('schema')!r}, and this version reads schema {SCHEMA}")
        return cls(**{f.name: values[f.name] for f in fields(cls)})

    def refusal(self, now: Fingerprint, model: str) -> str | None:
        """Why runs of `now` cannot join those of this fingerprint, as a sentence; None where they can."""
        same_tasks = self._same_version(now, "lm-eval") and self._same_version(now, "junkdna-harness")
        for what, was, is_now in (
            ("dtype", self.dtype, now.dtype),
            ("weights (sha256)", self.weights_sha256, now.weights_sha256),
            ("tokenizer (sha256)", self.tokenizer_sha256, now.tokenizer_sha256),
            ("calibration", *_first_other(self.calibrations, now.calibrations)),
            ("items (sha256) of task", *_first_other(self.items, now.items)),
            ("version of task", *_first_other(self.task_versions, now.task_versions)),
            (
                "configuration (sha256) of task",
                *_first_other(self.task_configs, now.task_configs, same_tasks),
            ),
            (
                "configuration (sha256)",
                *(
                    (self.config_sha256, now.config_sha256)
                    if self._same_version(now, "transformers")
                    else ("", "")
                ),
            ),
        ):
            if was is not None and is_now is not None and was != is_now:
                return (
                    f"model {model!r} is not what the runs in this folder were made with: its {what} was {_short(was)}, and is "
                    f"now {_short(is_now)}. Bring back what it was, or give another folder."
                )
        return None

    def notes(self, now: Fingerprint) -> list[str]:
        """What differs and may change scores a little, as sentences."""
        return [
            f"the runs in this folder were begun with {package} {was}, and go on with {now.versions[package]}: scores may "
            "differ for that reason alone."
            for package, was in self.versions.items()
            if package in now.versions and now.versions[package] != was
        ]

    def joined(self, now: Fingerprint) -> Fingerprint:
        """This fingerprint with what `now` knows in addition."""
        values: dict[str, Any] = {}
        for name in (f.name for f in fields(self)):
            was, is_now = getattr(self, name), getattr(now, name)
            values[name] = {**is_now, **was} if isinstance(was, Mapping) else is_now if was is None else was
        return Fingerprint(**{**values, "files": now.files})

    def _same_version(self, now: Fingerprint, package: str) -> bool:
        return self.versions.get(package) == now.versions.get(package)


def _first_other(
    was: Mapping[str, Any], now: Mapping[str, Any], compared: bool = True
) -> tuple[str | None, str | None]:
    """The first entry that both have and that differs, as text."""
    for name in was if compared else ():
        if name in now and was[name] != now[name]:
            return f"{name}: {_entry(was[name])}", f"{name}: {_entry(now[name])}"
    return None, None


def _entry(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _short(text: str) -> str:
    """A hash by its first digits."""
    return re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1...", text)


def take(
    lm: Any, arguments: Mapping[str, Any], suite: Any, items: bytes, facts: Mapping[str, Any], weights: str, drawn: Iterable[Calibration]
) -> Fingerprint:  # fmt: skip
    """The fingerprint of the model `lm`, loaded with `arguments`, the tasks of `suite`, and the calibration text `drawn`.

    `items` and `facts` are what the store keeps: the table of items, and lm-eval's facts about the tasks.
    """
    return Fingerprint(
        weights_sha256=weights,
        dtype=lm.dtype,
        config_sha256=_config_sha256(lm.model),
        tokenizer_sha256=_tokenizer_sha256(lm.tokenizer),
        calibrations=_calibrations(drawn),
        items=items_sha256(items),
        task_configs={n: _task_sha256(facts["configs"].get(n, {}), task) for n, task in suite.tasks.items()},
        task_versions=dict(facts["versions"]),
        versions={package: version(package) for package in PACKAGES},
        files=glance(arguments),
    )


def items_sha256(parquet: bytes) -> dict[str, str]:
    """sha256 by task of what is asked and what is right, from the table of items."""
    import pandas as pd

    table = pd.read_parquet(io.BytesIO(parquet), columns=["task", "doc_id", "doc", "arguments", "target"])
    return {
        str(task): _sha256(rows.drop(columns="task").to_dict("records"))
        for task, rows in table.sort_values(["task", "doc_id"]).groupby("task")
    }


def glance(arguments: Mapping[str, Any]) -> str | None:
    """sha256 of the names, sizes and some pieces of the files in the folders that a model's arguments name; None for none.

    Cheap for any size of model. Other weights or another tokenizer give another glance; equal glances prove nothing.
    """
    folders = [
        folder for name in _FOLDER_ARGUMENTS if (folder := _folder(name, arguments.get(name))) is not None
    ]
    if not folders:
        return None
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern)}):
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            with path.open("rb") as handle:
                for i in range(_GLANCES):
                    handle.seek(size * i // _GLANCES)
                    digest.update(handle.read(_GLANCE_BYTES))
    return digest.hexdigest()


def _folder(name: str, value: object) -> Path | None:
    if value is None:
        return None
    try:
        folder = Path(resolve_pretrained(str(value)) if name == "pretrained" else str(value)).expanduser()
    except UsageError:
        return None
    return folder if folder.is_dir() else None


def calibration_key(source: str, seed: int) -> str:
    """Under which name a calibration stands in a fingerprint."""
    return f"{source} with seed {seed}"


def draw_calibrations(lm: Any, cells: Iterable[PlannedRun]) -> list[Calibration]:
    """The samples of calibration text that the cells will look at, each once."""
    from junkdna_harness.compress.calibration import load_calibration

    found = []
    for source, nsamples, seqlen, seed in dict.fromkeys(filter(None, map(_calibration_asked, cells))):
        try:
            found.append(
                load_calibration(source, lm.tokenizer, lm.model, nsamples=nsamples, seqlen=seqlen, seed=seed)
            )
        except UsageError:
            continue  # the run that needs it fails with this sentence; the others go on
    return found


def _calibrations(drawn: Iterable[Calibration]) -> dict[str, dict[str, Any]]:
    facts = (calibration.to_dict() for calibration in drawn)
    return {
        calibration_key(one["source"], one["seed"]): {
            name: one[name] for name in ("nsamples", "seqlen", "tokens_sha256")
        }
        for one in facts
    }


def _calibration_asked(cell: PlannedRun) -> tuple[str | None, int, int | None, int] | None:
    spec = spec_of(cell)
    if spec is None or not spec.calibrated:
        return None
    return spec.calibration, spec.nsamples, spec.seqlen, spec.seed


def _config_sha256(model: Any) -> str | None:
    """What the forward pass and generation depend on beside the weights, e.g. the base of rotary positions."""
    volatile = (
        "_name_or_path",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "_attn_implementation",
        "use_cache",
    )
    parts = []
    for name in ("config", "generation_config"):
        config: Any = getattr(model, name, None)
        values = config.to_dict() if hasattr(config, "to_dict") else {}
        parts.append({key: value for key, value in values.items() if key not in volatile})
    return _sha256(parts)


def _tokenizer_sha256(tokenizer: Any) -> str | None:
    """The vocabulary, merges, special tokens and chat template; not the padding and truncation of the last call."""
    if tokenizer is None:
        return None
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        core = json.loads(backend.to_str())
        core = {name: value for name, value in core.items() if name not in ("padding", "truncation")}
    else:
        core = {"class": type(tokenizer).__name__, "vocabulary": sorted(tokenizer.get_vocab().items())}
    special = {name: str(value) for name, value in tokenizer.special_tokens_map.items()}
    return _sha256([core, special, getattr(tokenizer, "chat_template", None)])


def _task_sha256(config: Mapping[str, Any], task: Any) -> str:
    """A task's configuration, without what lm-eval copies into it from the model's arguments, and the files of its functions."""
    metadata = config.get("metadata") or {}
    own = {name: metadata.get(name) for name in ("version", "axis", "family", "tier", "n_tiers", "chance")}
    functions = [type(task), *_functions(vars(getattr(task, "config", task)))]
    files = sorted({_source(function) for function in functions})
    return _sha256([{**config, "metadata": own}, files])


def _functions(value: object) -> Iterator[object]:
    """Functions in a task's configuration, however deep."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _functions(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _functions(part)
    elif callable(value):
        yield getattr(value, "func", value)  # of a functools.partial


def _source(function: object) -> str:
    """sha256 of the file that a function stands in, so that what it calls there counts too; empty where it is in none."""
    try:
        file = inspect.getsourcefile(function)  # type: ignore[arg-type]
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    except (TypeError, OSError):
        return ""


def _sha256(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(_ADDRESS.sub("", text).encode()).hexdigest()
