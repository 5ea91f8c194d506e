"""The samples that lm-eval logged for one task: read whole or refused, whatever wrote, packed or cut the file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import parsed
from difficulty.runs.table import some
from difficulty.runs.values import as_number

Sample = dict[str, Any]
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # UTF-16, as some Windows tools save text
_QUOTED = 60  # characters of a wrong value that a sentence quotes
PREDICT_ONLY = "bypass"  # the metric that lm_eval --predict_only puts in the place of all others


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped, without a byte order mark.

    Raises:
        UsageError: it cannot be read, is cut off, or is not UTF-8; the first bad line is named.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    except (EOFError, zlib.error) as error:
        raise UsageError(
            f"{str(path)!r} is a gzip file that is cut off or damaged ({error}). Copy it again."
        ) from error
    if content[:2] in _WIDE:
        raise UsageError(f"{str(path)!r} is saved as UTF-16; lm-eval writes UTF-8. Save it as UTF-8.")
    return content.removeprefix(_BOM)


def read_json(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        UsageError: it is not whole JSON, or not UTF-8.
    """
    content = read_bytes(path)
    try:
        return parsed(_decoded(content, path, 1))
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{str(path)!r} is not whole JSON ({error}). Evaluate again, or remove it."
        ) from error


def samples_file(folder: Path, task: str, stamp: str) -> Path | None:
    """Where the samples of exactly this task are: beside the results, packed or not; None where they are not."""
    name = f"samples_{task}_{stamp}.jsonl"
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def read_samples(path: Path) -> list[Sample]:
    """The logged samples of one task, in the order of the file.

    Raises:
        UsageError: a line is not whole JSON, not UTF-8, or lacks what lm-eval logs; the line is named.
    """
    samples = []
    for number, line in enumerate(read_bytes(path).split(b"\n"), 1):
        if not line.strip():
            continue
        text = _decoded(line, path, number)
        try:
            sample = parsed(text)
            if problem := _problem(sample):
                raise ValueError(problem)
        except ValueError as error:
            raise UsageError(
                f"{str(path)!r}, line {number}, is not a whole sample of lm_eval ({error}). Evaluate this task again."
            ) from error
        samples.append(sample)
    return samples


def _decoded(content: bytes, path: Path, first_line: int) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        raise UsageError(
            f"{str(path)!r}, line {line}, holds the byte 0x{content[error.start]:02X}, which is not UTF-8: it was changed "
            "after lm-eval wrote it. Save it as UTF-8, or evaluate this task again."
        ) from error


def _problem(sample: object) -> str:
    """What is wrong with the shape of a sample, or nothing."""
    if not isinstance(sample, dict):
        return f"a {type(sample).__name__} instead of an object"
    if "doc_hash" not in sample or "metrics" not in sample:
        return "no doc_hash or metrics in it"
    if not isinstance(sample["doc_hash"], str):
        return f"its doc_hash is {short(sample['doc_hash'])}, which is no text"
    if isinstance(sample.get("doc_id"), (list, dict)):
        return f"its doc_id is {short(sample['doc_id'])}, which is no number"
    for name in ("arguments", "filtered_resps"):
        if not isinstance(sample.get(name) or [], (list, tuple, dict)):
            return f"its {name} are {short(sample[name])}, which is no list"
    metrics = sample["metrics"]
    if not isinstance(metrics, list) or not all(isinstance(name, str) for name in metrics):
        return f"its metrics are {short(metrics)}, which is no list of names"
    if absent := [name for name in metrics if name not in sample]:
        return f"it names the metric {short(absent[0])} and has no value for it"
    return ""


def short(value: object) -> str:
    """What a sentence quotes of a wrong value."""
    text = repr(value)
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "..."


def with_filters(samples: Sequence[Sample], config: Mapping[str, Any], task: str) -> list[Sample]:
    """The samples, each with its `filter`. lm-eval before 0.4.5 logged all documents once per filter, and did not say which.

    Raises:
        UsageError: which filter a row belongs to cannot be known.
    """
    if all("filter" in sample for sample in samples):
        return list(samples)
    counts: dict[object, int] = {}
    numbers = []
    for sample in samples:
        key = (sample.get("doc_id"), sample["doc_hash"])
        numbers.append(counts.get(key, 0))
        counts[key] = numbers[-1] + 1
    repeats = set(counts.values())
    if repeats == {1}:
        return [{**sample, "filter": "none"} for sample in samples]
    listed = config.get("filter_list")
    names = [str(f.get("name")) for f in listed if isinstance(f, Mapping)] if isinstance(listed, list) else []
    if repeats != {len(names)}:
        raise UsageError(
            f"the samples of task {task!r} hold documents several times and say no filter, as lm-eval before 0.4.5 logged "
            f"them, and its configuration names {len(names)} filters: which row is which cannot be known. Evaluate again."
        )
    return [{**sample, "filter": names[number]} for sample, number in zip(samples, numbers, strict=True)]


def item_ids(task: str, samples: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(item id, cluster) per sample. A document that the data set holds twice gives two items of one cluster.

    Raises:
        UsageError: one document was logged twice under one filter.
    """
    seen: dict[tuple[str, str], dict[object, int]] = {}
    ids = []
    for sample in samples:
        copies = seen.setdefault((str(sample.get("filter", "none")), sample["doc_hash"]), {})
        doc_id = sample.get("doc_id")
        if doc_id in copies:
            raise UsageError(
                f"task {task!r} logged document {doc_id} ({sample['doc_hash'][:12]}) twice. "
                "Two evaluations share one samples file: keep one of them."
            )
        copies[doc_id] = len(copies)
        number = copies[doc_id]
        name = sample["doc_hash"]
        ids.append((f"{name}#{number + 1}" if number else name, name))
    return ids


def check_count(task: str, samples: Sequence[Sample], results: Mapping[str, Any], path: Path) -> None:
    """Refuse a samples file that does not hold as many documents as were evaluated.

    Raises:
        UsageError: says both numbers.
    """
    counted = results.get("n-samples")
    entry = counted.get(task) if isinstance(counted, Mapping) else None
    wanted = entry.get("effective") if isinstance(entry, Mapping) else None
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        return
    documents: dict[object, set[object]] = {"": set()}
    for sample in samples:  # every filter is applied to every document
        documents.setdefault(str(sample.get("filter", "")), set()).add(
            (sample.get("doc_id"), sample["doc_hash"])
        )
    for name, there in documents.items():
        found = len(there)
        if found != wanted and (name or len(documents) == 1):
            what = "lines are missing" if found < wanted else "it is of another evaluation"
            under = f" under the filter {name!r}" if len(documents) > 2 else ""
            raise UsageError(
                f"{str(path)!r} holds {found} items of task {task!r}{under}, and {wanted} were evaluated: {what}. "
                "Copy the file again, or evaluate this task again."
            )


def only_predicted(samples: Sequence[Sample]) -> bool:
    """True where nothing was scored, as with `lm_eval --predict_only`."""
    return all(set(sample["metrics"]) <= {PREDICT_ONLY} for sample in samples)


def requests(sample: Mapping[str, Any]) -> list[list[Any]]:
    """What was asked, one list of arguments per request, from a log ({"gen_args_0": {"arg_0": ...}}) or from memory."""
    given = sample.get("arguments") or []
    listed = given.values() if isinstance(given, dict) else given
    return [
        list(one.values())
        if isinstance(one, dict)
        else list(one)
        if isinstance(one, (list, tuple))
        else [one]
        for one in listed
    ]


def loglikelihoods(sample: Mapping[str, Any]) -> list[float] | None:
    """One log-likelihood per request, natural log; lm-eval logs them as text. None where the answers are texts."""
    values = []
    for response in sample.get("filtered_resps") or []:
        first = response
        while isinstance(first, (list, tuple)) and first:  # lm-eval 0.5 has one list more around each
            first = first[0]
        number = as_number(first)
        if number is None:
            return None
        values.append(number)
    return values or None


def option_texts(sample: Mapping[str, Any]) -> list[str]:
    """The continuation of each request, without the spaces around it."""
    return [str(request[-1]).strip() if request else "" for request in requests(sample)]


def named(items: Iterator[str] | Sequence[str]) -> str:
    """The first few item ids, cut to what tells them apart for the eye."""
    return some([str(item)[:12] for item in items])
