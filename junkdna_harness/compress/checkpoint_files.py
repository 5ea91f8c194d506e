"""What the files of a checkpoint say before a weight is read: whether they are there, whole, and of a kind that runs no code.

It is cheap (the config, the headers of the weights), so that every command asks it before it begins. What only a loaded model shows,
tensors that are missing or of another shape, is found by `compress.reading`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import ADAPTER_CONFIG, EMBEDDED, MANIFEST, read_object
from junkdna_harness.arguments import is_adapter, resolve_pretrained
from junkdna_harness.compress.card import CARD, OF_SOURCE
from junkdna_harness.compress.reading import clear_loading_errors, no_tokenizer, refuse_pickles_asked_for

WEIGHTS = "model.safetensors"
INDEX = WEIGHTS + ".index.json"
# By which torch and others write pickles: reading one can run whatever its writer put in.
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# Read beside the weights; a damaged one is an error, or would be passed over without a word.
BESIDE = (
    "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "preprocessor_config.json",
    "processor_config.json",
)  # fmt: skip
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
)
# By name, what belongs to a checkpoint: what transformers and peft write and read, cards, licences, and what we write of how it was made.
_WEIGHTS_NAMED = re.compile(r"model(-\d+-of-\d+)?\.safetensors|adapter_model\.safetensors")
_PARTS = (
    MANIFEST, CARD, OF_SOURCE, INDEX, "config.json", ADAPTER_CONFIG, "train_log.jsonl", "merges.txt", "*.model", "*.tiktoken",
    "vocab.*", "chat_template.jinja", "chat_template.json", "video_preprocessor_config.json", "LICENSE", "LICENSE.*", "LICENCE", "LICENCE.*",
    "NOTICE", "NOTICE.*", "USE_POLICY.*",
)  # fmt: skip
_TEMPLATES = "additional_chat_templates"
LARGE = ("tokenizer.json", "vocab.json")  # of which only the two ends are looked at
LFS = b"version https://git-lfs"
CODE = "auto_map"  # in a config: the file of the checkpoint whose code makes the model
AGAIN = "Get the checkpoint again."


def parts_of(folder: Path) -> tuple[list[str], list[str]]:
    """The files in `folder` that belong to a checkpoint, and those that do not, as names relative to it.

    Code belongs to it where its config names it. Hidden files, links and folders of others are not listed.
    """
    config = folder / "config.json"
    code = bool(read_object(config, once=False).get(CODE)) if config.is_file() else False
    ours: list[str] = []
    others: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink() or not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        (ours if _is_part(name, code) else others).append(name.as_posix())
    return ours, others


def _is_part(name: Path, code: bool) -> bool:
    if len(name.parts) > 1:
        return name.parts[:-1] == (_TEMPLATES,) and name.suffix == ".jinja"
    known = (*BESIDE, *TOKENIZER_FILES, *_PARTS, *(["*.py"] if code else []))
    return bool(_WEIGHTS_NAMED.fullmatch(name.name)) or any(
        fnmatch.fnmatchcase(name.name, one) for one in known
    )


def check_model_arguments(arguments: Mapping[str, Any], with_tokenizer: bool = False) -> None:
    """`check_checkpoint` on all that the arguments of one of our models name: the model, its tokenizer, an adapter, a delta.

    `with_tokenizer`: the tokenizer is loaded, too, before anything is begun that a model without one cannot end.

    Raises:
        UsageError: one of them cannot be loaded.
    """
    if arguments.get("subfolder") or not isinstance(arguments.get("pretrained", ""), str | None):
        return  # of the hub; or a model that is loaded already
    refuse_pickles_asked_for(arguments)
    name = arguments.get("pretrained") or EMBEDDED
    with _readable(name):
        _check_all(name, arguments, with_tokenizer)


def _check_all(given: str, arguments: Mapping[str, Any], with_tokenizer: bool) -> None:
    code = str(arguments.get("trust_remote_code")).lower() in ("true", "1", "yes")
    name: str | None = given
    adapter = arguments.get("peft")
    if adapter is None and is_adapter(Path(given).expanduser()):
        adapter, name = given, None  # whose model is named in its config
    if name is not None:
        check_checkpoint(name, arguments.get("gguf_file"), code, arguments.get("revision"))
    if adapter is not None:
        _check_adapter(str(adapter))
    if (delta := arguments.get("delta")) is not None:
        check_checkpoint(str(delta), None, code)
    tokenizer = arguments.get("tokenizer")
    if isinstance(tokenizer, str) and (folder := Path(tokenizer).expanduser()).is_dir():
        _check_json_files("tokenizer", tokenizer, folder)
    if with_tokenizer and name is not None and arguments.get("gguf_file") is None:
        _check_tokenizer(str(tokenizer or name), code, arguments.get("revision"))


def check_checkpoint(
    name: str | None, gguf_file: str | None = None, code: bool = False, revision: str | None = None
) -> None:
    """Refuse a model that cannot be loaded, as far as its config and the headers of its files say; of one of the hub, its config.

    Raises:
        UsageError: a file is missing, cut off, no file, not what it should be, or a pickle; or the config names code and not `code`.
    """
    named = name or EMBEDDED
    with _readable(named):
        folder = Path(resolve_pretrained(name))
        if folder.is_dir():
            _check_folder(named, folder, gguf_file, code)
        elif gguf_file is None:
            _read_config(named, named, code, revision)


def _check_folder(named: str, folder: Path, gguf_file: str | None, code: bool) -> None:
    if gguf_file is not None:
        if not Path(gguf_file).is_file():  # where transformers looks first
            _need_file("pretrained", named, folder / gguf_file)
        return
    _need_file("pretrained", named, folder / "config.json")
    config = read_object(folder / "config.json", once=False)
    _check_json_files("pretrained", named, folder)
    for file in _weight_files(named, folder, config):
        _check_header("pretrained", named, file)
    _check_config(named, folder, config, code)


def _weight_files(name: str, folder: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    """The files that transformers reads weights from."""
    if explicit := config.get("transformers_weights"):
        if not str(explicit).endswith((".safetensors", ".safetensors.index.json")):
            raise UsageError(_pickled(name, str(explicit)))
        file = folder / str(explicit)
    elif _there(folder / WEIGHTS):
        file = folder / WEIGHTS
    else:
        file = folder / INDEX
    if file.name.endswith(".index.json") and _there(file):
        yield from _shards(name, file)
    elif _there(file):
        yield file
    elif pickles := sorted(path.name for pattern in PICKLED for path in folder.glob(pattern)):
        raise UsageError(_pickled(name, pickles[0]))
    elif not list(folder.glob("*.gguf")):
        raise UsageError(
            f"pretrained={name!r} holds no weights: there is neither {WEIGHTS} nor {INDEX}. {AGAIN}"
        )


def _shards(name: str, index: Path) -> list[Path]:
    _need_file("pretrained", name, index)
    files = read_object(index, once=False).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(file, str) for file in files.values()):
        raise UsageError(
            f"pretrained={name!r} could not be loaded: {index.name} does not say in which files the weights are (its weight_map). {AGAIN}"
        )
    shards = [index.parent / file for file in sorted(set(files.values()))]
    if pickled := [path.name for path in shards if path.suffix != ".safetensors"]:
        raise UsageError(_pickled(name, pickled[0]))
    gone = [path.name for path in shards if not _there(path)]
    if gone:
        raise UsageError(
            f"pretrained={name!r} could not be loaded: {len(gone)} of the {len(shards)} files with its weights are missing, e.g. {gone[0]}. "
            f"{AGAIN}"
        )
    return shards


def _check_header(argument: str, name: str, file: Path) -> None:
    """By the library that reads it, which compares the header with the size of the file."""
    from safetensors import SafetensorError, safe_open

    _need_file(argument, name, file)
    try:
        with file.open("rb") as handle:
            start = handle.read(len(LFS))
        if start == LFS:
            raise UsageError(
                f"{argument}={name!r} could not be loaded: {file.name} only says where Git LFS keeps the weights. Run git lfs pull there."
            )
        with safe_open(str(file), framework="numpy"):
            pass
    except SafetensorError as error:
        raise UsageError(
            f"{argument}={name!r} could not be loaded: {file.name} is cut off or damaged ({error}). {AGAIN}"
        ) from error
    except OSError as error:
        raise UsageError(_unreadable(argument, name, file, error.strerror or str(error))) from error


def _check_config(name: str, folder: Path, config: Mapping[str, Any], code: bool) -> None:
    """As transformers reads it; code that lies beside it is not run unless it was asked for."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    known = isinstance(kind, str) and kind in CONFIG_MAPPING
    if config.get(CODE) and (code or not known):
        if not code:
            raise UsageError(
                f"pretrained={name!r} comes with code of its own ({CODE} in its config.json), which is not run unless you say so: read it, "
                "then give --trust-remote-code (trust_remote_code=True in --model_args)."
            )
        return  # its config is a class of that code
    _read_config(name, str(folder), False, None)


def _read_config(name: str, path: str, code: bool, revision: str | None) -> None:
    from transformers import AutoConfig

    with clear_loading_errors(name):
        AutoConfig.from_pretrained(path, trust_remote_code=code, revision=revision or "main")


def _check_tokenizer(name: str, code: bool, revision: str | None) -> None:
    from transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(
            resolve_pretrained(name), trust_remote_code=code, revision=revision or "main"
        )
    except UsageError:
        raise
    except Exception as error:  # its library raises Exception itself
        raise UsageError(no_tokenizer(name, error)) from error


def _check_adapter(name: str) -> None:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return
    _need_file("peft", name, folder / ADAPTER_CONFIG)
    read_object(folder / ADAPTER_CONFIG, once=False)
    file = folder / "adapter_model.safetensors"
    if _there(file):
        _check_header("peft", name, file)
    elif (folder / "adapter_model.bin").exists():
        raise UsageError(_pickled(name, "adapter_model.bin", "peft"))
    else:
        raise UsageError(f"peft={name!r} holds no weights: there is no {file.name}. {AGAIN}")


def _check_json_files(argument: str, name: str, folder: Path) -> None:
    for path in (folder / beside for beside in (*BESIDE, *LARGE)):
        if not _there(path):
            continue
        _need_file(argument, name, path)
        if path.name in LARGE:
            _look_at_ends(path)
        else:
            read_object(path, once=False)


def _look_at_ends(path: Path) -> None:
    with path.open("rb") as handle:
        first = handle.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        handle.seek(max(0, path.stat().st_size - 64))
        last = handle.read().rstrip()[-1:]
    if (first, last) != (b"{", b"}"):
        raise UsageError(f"{str(path)!r} is not whole JSON. Restore it or remove it.")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """A block that looks at the files of `name`: a folder that may not be entered, or a name that is too long, is one sentence."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"pretrained={name!r} could not be loaded: {error.strerror or error}. Name another folder, or make it readable."
        ) from error


def _there(path: Path) -> bool:
    """Whether something has this name, be it a link that leads nowhere."""
    return path.exists() or path.is_symlink()


def _need_file(argument: str, name: str, path: Path) -> None:
    """
    Raises:
        UsageError: no regular file that can be read is there.
    """
    if path.is_file():
        return
    if path.is_symlink() and not path.exists():
        why = f"is a link to {str(path.readlink())!r}, which is not there"
    elif path.exists():
        why = "is no file"
    else:
        why = "is missing"
    raise UsageError(_unreadable(argument, name, path, why))


def _unreadable(argument: str, name: str, path: Path, why: str) -> str:
    said = why if why.startswith("is ") else f"cannot be read ({why})"
    return (
        f"{argument}={name!r} could not be loaded: {path.name} {said}. Put it there, or name another folder."
    )


def _pickled(name: str, file: str, argument: str = "pretrained") -> str:
    return (
        f"{argument}={name!r} has its weights in {file}, a pickle, which can run code when it is read; only safetensors are read here. "
        "Get the model's safetensors, or convert it where you trust it: load it with transformers and save_pretrained it to a new folder."
    )
