"""What a checkpoint's folder holds beside weights goes along with them: processors, templates, licences.

Files that transformers wrote anew stay as they are. Left behind are weights and what belongs to them, pickles, what was measured of the
source, and code, unless it may be run. The model card goes along under another name, for it speaks of the source (`card`).
"""

from __future__ import annotations

import fnmatch
import shutil
from contextlib import suppress
from pathlib import Path

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import MANIFEST, snapshot
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.card import CARD, OF_SOURCE, front_matter, is_ours

_WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".gguf", ".ggml", ".npz",
    ".npy", ".tflite", ".mlmodel", ".ot", ".llamafile", ".distcp", ".nemo", ".joblib", ".zip", ".tar", ".gz",
)  # fmt: skip
# What is of the source's weights alone: indices, adapters, other formats' settings, training states, results of evaluations.
_OF_WEIGHTS = (
    MANIFEST, "*.index.json", "adapter_config.json", "quantize_config.json", "quant_config.json", "trainer_state.json", "train_log.jsonl", "recipe.*",
    "results_*.json", "samples_*.jsonl", "label_*.json", "model_index.json",
)  # fmt: skip
_CODE = (".py", ".so", ".sh")
# What transformers does not ask the hub for when it loads a model, and who uses the checkpoint may need.
_OF_THE_HUB = (
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json", "chat_template.jinja", "chat_template.json",
    "generation_config.json", "README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "USE_POLICY.md",
)  # fmt: skip
LARGEST = 64 << 20  # bytes: tokenizers of a million tokens have 40 MiB


def source_folder(source: str | None, revision: str | None = None) -> Path | None:
    """Where the files of a model lie: its folder, or its snapshot in the hub's cache; None where that is not known."""
    if source is None:
        return None
    try:
        found = resolve_pretrained(source)
    except UsageError:
        return None
    if Path(found).is_dir():
        return Path(found)
    for name in _OF_THE_HUB:
        _fetch(found, name, revision)
    return snapshot(found, revision)


def _fetch(model: str, name: str, revision: str | None) -> None:
    """Bring one file of a hub model into the cache, where there is one and the hub can be reached."""
    from transformers.utils import cached_file

    with suppress(OSError, ValueError):
        cached_file(
            model, name, revision=revision or "main", _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip


def carry_over(source: Path, target: Path, code: bool = False) -> list[str]:
    """Copy what goes along from `source` to `target`; what stayed behind though it is neither weights nor of them, each with the reason.

    `code`: the source's code may be run, so it goes along.
    """
    left: list[str] = []
    root = _root(source)
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or (target / path.name).exists():
            continue
        if path.is_dir():
            if path.is_symlink() or _holds_weights(path):
                continue
            files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        else:
            files = [path]
        for file in files:
            name = file.relative_to(source)
            if _of_weights(file):
                continue
            if reason := _refused(file, root, code):
                left.append(f"{name} ({reason})")
                continue
            if str(name) == CARD:
                if is_ours(front_matter(source)):
                    continue
                name = Path(OF_SOURCE)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / name)
    return left


def _root(source: Path) -> Path:
    """What files may point into: the folder itself; of a snapshot the model's part of the cache, where its files really lie."""
    whole = source.resolve()
    return whole.parent.parent if whole.parent.name == "snapshots" else whole


def _holds_weights(folder: Path) -> bool:
    return any(file.suffix.lower() in _WEIGHTS for file in folder.rglob("*"))


def _of_weights(file: Path) -> bool:
    return file.suffix.lower() in _WEIGHTS or any(
        fnmatch.fnmatch(file.name, pattern) for pattern in _OF_WEIGHTS
    )


def _refused(file: Path, root: Path, code: bool) -> str:
    """Why a file stays behind, or ''."""
    if not file.resolve().is_relative_to(root):
        return "a link to elsewhere"
    if not file.is_file():
        return "no plain file"
    if file.suffix in _CODE and not code:
        return "code; --trust-remote-code takes it along"
    if (size := file.stat().st_size) > LARGEST:
        return f"{size >> 20} MiB"
    return ""
