"""Which documents of a task are in a tier: by an assignment file, by shipped scores, or by a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.cut.axes import Rule, parse_rule
from difficulty.cut.tiers import TierAssignment, assign_tiers, quote
from difficulty.errors import UsageError
from difficulty.json_files import read_json
from junkdna_harness.harness.requests import document_hash
from junkdna_harness.tiers.items import content_key, item_of_doc

if TYPE_CHECKING:
    from junkdna_harness.tiers.spec import TierSpec


@dataclass(frozen=True)
class Choice:
    """Rows of the whole task that are in the tier, in the whole task's order, and the assignment they come from."""

    rows: tuple[int, ...]
    assignment: TierAssignment | None = None


# One assignment per task and data set: the tiers of a task are built one after the other, and share it.
_assignments: dict[tuple[Any, ...], TierAssignment] = {}


def choose(task: Any, docs: Any, spec: TierSpec, home: Path) -> Choice:
    """The rows of `docs` that are in the tier that `spec` describes; files are looked for in `home`.

    Raises:
        UsageError: the documents are not those that the files know, or the tier is empty.
    """
    if spec.assignment is not None:
        return _by_file(docs, home / spec.assignment, spec.tier)
    if spec.by is None and spec.scores is None:
        return Choice(tuple(range(len(docs))))
    key = (spec.base, repr(spec.original), repr(spec.override), spec.by, spec.scores, spec.bins, spec.cuts, spec.harder,
           spec.order, spec.min_items, repr(spec.view), getattr(docs, "_fingerprint", id(docs)))  # fmt: skip
    if key not in _assignments:
        _assignments[key] = _assign(task, docs, spec, home)
    assignment = _assignments[key]
    rows = (
        tuple(int(row) for row in assignment.items(spec.tier))
        if spec.tier
        else tuple(map(int, assignment.tier_of))
    )
    if not rows:
        raise UsageError(
            f"tier {spec.tier} does not exist: there are {assignment.n_tiers}. Name one of them."
        )
    return Choice(rows, assignment)


def source_runs(assignment: Path | None, scores: Path | None) -> list[dict[str, Any]]:
    """The runs whose answers made the tiers, as metadata name them; none for tiers by a rule of the items.

    What older versions wrote names their models alone, which were dense.
    """
    if scores is not None:
        model = _scores(str(scores)).get("model")
        return [{"model": str(model)}] if model else []
    source = read_assignment(assignment).get("source") if assignment is not None else None
    if not isinstance(source, dict):
        return []
    kept_back = {run["model"] for run in source["judge_with"]}
    return [
        {
            "cross_fitted": run["model"] in kept_back,
            **{name: value for name, value in run.items() if name not in ("folder", "samples_sha256")},
        }
        for run in source["made_by"]
    ]


def score_docs(task: Any, docs: Any, rule: Rule) -> dict[str, Any]:
    """Row number (as text) -> score of each document."""
    return {str(row): rule.score(item_of_doc(task, doc)) for row, doc in enumerate(docs)}


def _assign(task: Any, docs: Any, spec: TierSpec, home: Path) -> TierAssignment:
    if spec.scores is not None:
        known = _scores(str(home / spec.scores))["scores"]
        keys = [content_key(item_of_doc(task, doc)) for doc in docs]
        scores: dict[str, Any] = {str(row): known[key] for row, key in enumerate(keys) if key in known}
        if not scores:
            raise UsageError(
                f"none of the {len(keys)} documents has a score in {spec.scores!r}: the data or the prompt differ from "
                "those that were scored. Build tiers of your own with `junkdna tiers build`."
            )
    else:
        scores = score_docs(task, docs, parse_rule(str(spec.by)))
    harder: Any = spec.harder or ("low" if spec.scores else "high")
    return assign_tiers(scores, spec.bins, spec.min_items, harder=harder, cuts=spec.cuts, order=spec.order)


@lru_cache(maxsize=16)
def _scores(path: str) -> Mapping[str, Any]:
    loaded = read_json(path, "the scores file", "Put it beside the YAML.")
    if not isinstance(loaded, dict) or not isinstance(loaded.get("scores"), dict):
        raise UsageError(f"the scores file {path!r} holds no scores. Put it beside the YAML.")
    return loaded


def _by_file(docs: Any, path: Path, tier: int | None) -> Choice:
    known = read_assignment(path)["items"]
    hashes = [document_hash(doc) for doc in docs]
    strange = [name for name in hashes if name not in known]
    gone = len(set(known) - set(hashes))
    if strange or gone:
        raise UsageError(
            f"{len(strange)} of {len(hashes)} documents are not in {path.name!r} ({quote(strange)}) and {gone} of its "
            "documents are gone: the data or the task changed. Run `junkdna tiers build` again."
        )
    rows = tuple(row for row, name in enumerate(hashes) if tier is None or known[name]["tier"] == tier)
    if not rows:
        raise UsageError(f"tier {tier} is empty in {path.name!r}. Run `junkdna tiers build` again.")
    return Choice(rows)


def read_assignment(path: Path) -> dict[str, Any]:
    """What `junkdna tiers build` wrote.

    Raises:
        UsageError: the file is not there or is no assignment.
    """
    try:
        return dict(_assignment_file(str(path), path.stat().st_mtime_ns))
    except OSError as error:
        raise UsageError(
            f"there is no assignment {str(path)!r} ({error.strerror}). Keep it beside the YAML files, "
            "or run `junkdna tiers build` again."
        ) from error


@lru_cache(maxsize=16)
def _assignment_file(path: str, mtime_ns: int) -> Mapping[str, Any]:
    loaded = read_json(path, "the assignment file", "Run `junkdna tiers build` again.")
    if not isinstance(loaded, dict) or "items" not in loaded:
        raise UsageError(f"{path!r} is no assignment file: it has no items. Run `junkdna tiers build` again.")
    return loaded
