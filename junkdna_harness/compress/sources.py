"""Where calibration text comes from: a file, a data set, a task's training split, or what comes with the package.

No tokenizer and no model is needed here, so that what is missing can be told before one is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.embedded import is_embedded, knows_the_suite, skills_texts
from junkdna_harness.harness.training import refuse_untrainable, task_examples
from junkdna_harness.texts.files import JSON, path_and_field, read_rows, read_text, text_column

if TYPE_CHECKING:
    from junkdna_harness.compress.quant_spec import QuantSpec
    from junkdna_harness.compress.spec import PruneSpec

GRADED, DATASET, TASK = "graded", "hf:", "task:"
WHAT = "calibration file"
NO_SOURCE = (
    "this method looks at the layers' inputs, so it needs text. Give calibration=FILE.txt (or .jsonl), "
    "calibration=task:NAME, calibration=hf:DATASET, or calibration=graded (the suite's training items)."
)
_GRADED_CHARACTERS = 8  # a token: enough for any tokenizer of words
_MOST_CHARACTERS = 40  # a token: what is read of a long source, before tokens are counted


def texts_of(source: str, wanted: int, seed: int) -> Iterable[str]:
    """The texts of a source, enough for `wanted` tokens.

    Raises:
        UsageError: there is no such source, or nothing in it.
    """
    if source == GRADED:
        return skills_texts(wanted * _GRADED_CHARACTERS, seed)
    if source.startswith(DATASET):
        data, column = _dataset(source)
        return list(data[column])
    if source.startswith(TASK):
        return _task(source)
    return _file(source, wanted * _MOST_CHARACTERS)


def check_spec(spec: PruneSpec | QuantSpec, pretrained: str) -> Iterator[str]:
    """What was found to be there of what compression reads beside the model `pretrained` (a folder, or an id of the hub), in words.

    Raises:
        UsageError: what it would say later, of a mask or a calibration text that is not there.
    """
    mask = getattr(spec, "mask", None)
    if mask is not None:
        if not Path(mask).is_file():
            raise UsageError(f"mask={mask!r} is no file. Make one with junkdna prune --save-mask FILE.")
        yield f"mask {mask}"
    if spec.calibrated:
        yield f"calibration text {check_source(spec.calibration, pretrained)}"


def check_source(source: str | None, pretrained: str) -> str:
    """The name of a calibration text, after making sure that it is there: a file is read, a data set opened.

    Raises:
        UsageError: it is not there, or there is no source and the model brings none.
    """
    if source is None or is_embedded(source):
        if Path(pretrained).is_dir() and not knows_the_suite(pretrained):
            raise UsageError(NO_SOURCE)
        return "of the embedded model"
    if source.startswith(DATASET):
        _dataset(source)
    elif source.startswith(TASK):
        try:
            refuse_untrainable(source.removeprefix(TASK))
        except UsageError as error:
            raise UsageError(f"calibration={source!r}: {error}") from error
    elif source != GRADED:
        _file(source, 1 << 40)
    return source


def _file(source: str, most: int) -> list[str]:
    path, field = path_and_field(source)
    if not path.is_file():
        raise UsageError(
            f"calibration={source!r} is no file. Give a text or jsonl file, task:NAME, hf:DATASET, or graded."
        )
    text = read_text(path, source, WHAT)
    if path.suffix in JSON:
        return read_rows(text, source, field, WHAT)
    # A blank line ends a document. What is far more than needed is cut into pieces, so that all of it can be drawn.
    texts = text.split("\n\n")
    size = max(1, most // 64)
    return [piece[i : i + size] for piece in texts for i in range(0, len(piece), size)]


def _dataset(source: str) -> tuple[Any, str]:
    """The data set, and its column that holds the text."""
    from datasets import load_dataset

    parts = source.split(":")[1:]
    name, config, split, column = (parts + [""] * 4)[:4]
    if not name or len(parts) > 4:
        raise UsageError(f"calibration={source!r}: write hf:dataset[:config[:split[:column]]].")
    try:
        data = load_dataset(name, config or None, split=split or "train")
    except Exception as error:  # datasets raises many kinds: no network, no such name, no such split
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"calibration={source!r} could not be loaded: {first}") from error
    if not len(data):
        raise UsageError(f"calibration={source!r} is empty.")
    chosen = column or text_column(data.column_names, data[0], f"calibration={source!r}")
    if chosen not in data.column_names:
        raise UsageError(
            f"calibration={source!r}: no column {chosen!r}. Choose one of {', '.join(data.column_names)}."
        )
    return data, chosen


def _task(source: str) -> Iterable[str]:
    try:
        return [example.prompt + example.answer for example in task_examples(source.removeprefix(TASK))]
    except UsageError as error:
        raise UsageError(f"calibration={source!r}: {error}") from error
