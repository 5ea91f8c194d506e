"""`junkdna tiers build` as a library: score the documents of a task, cut them into tiers, write the files.

What is written: `<name>.yaml` (the group), `<name>_t1.yaml`, ... (one per tier: an include and its number),
`_original_yaml` (the whole task, copied, so that its own folder is not needed) and `assignment.json`.
The same call writes the same bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from difficulty.cut.axes import FAMILIES_OF_RULES, RULES, Item, Rule, parse_rule
from difficulty.cut.tiers import MIN_ITEMS, Harder, TierAssignment, assign_tiers, quote
from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.provenance import TIERS_FROM
from junkdna_harness.harness.requests import document_hash
from junkdna_harness.harness.results import averaged_metrics, scored_by_own_code
from junkdna_harness.output_folder import output_folder
from junkdna_harness.tiers.items import item_of_doc
from junkdna_harness.tiers.scores import DENSE_RULES, RunScores, dense_scores
from junkdna_harness.tiers.source import CLASS, SourceTask, load_source

SCHEMA = 1
UNKNOWN_CHANCE = "the task scores its answers by code of its own"


@dataclass(frozen=True)
class TierPlan:
    """Everything that `write_tiers` writes and that the printed table shows.

    scores: doc_hash -> score. chance: tier number -> expected accuracy of guessing, 0 without options, None where the
    task scores answers in a way of its own, so that it cannot be known.
    runs: the logged runs that the scores come from, or None for a rule of the items alone.
    """

    name: str
    source: SourceTask
    rule: str
    assignment: TierAssignment
    scores: Mapping[str, float | str]
    chance: Mapping[int, float | None]
    seed: int
    min_items: int
    runs: RunScores | None = None

    @property
    def averaged(self) -> list[str]:
        """Metrics of which the group gets a row: those that lm-eval averages over documents."""
        return averaged_metrics(self.source.task)[0]

    @property
    def not_averaged(self) -> list[str]:
        """Metrics of which the group gets no row: a mean over the tiers is not their value over all documents."""
        return averaged_metrics(self.source.task)[1]


def plan_tiers(
    task: str,
    by: str,
    bins: int | None = None,
    *,
    include_path: str | None = None,
    name: str | None = None,
    min_items: int = MIN_ITEMS,
    cuts: Sequence[float] | None = None,
    order: Sequence[str] | None = None,
    harder: Harder | None = None,
    scores: Sequence[str | Path] = (),
    cross_fit: bool | None = None,
    metric: str | None = None,
    seed: int = 0,
    allow_duplicates: bool = False,
) -> TierPlan:
    """The tiers of a task, nothing written.

    Args:
        task, include_path: the lm-eval task, and the folder of task files of the user's own.
        by: the rule, see `difficulty.cut.axes`, or dense_accuracy / dense_margin with `scores`.
        scores: folders of logged lm-eval runs of the task; several are averaged.
        cross_fit: score from one half of the runs and keep the other half to judge with (None: when there are two).
        metric: for dense_accuracy, which logged metric (None: acc, else exact_match, else the first).
        seed: decides which half of the runs scores which document.

    Raises:
        UsageError: what was asked for cannot be built; the sentence says why and what can be.
    """
    rule = _rule(by, scores)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UsageError(f"the name {name!r} cannot be a task name. Use letters, digits, '_', '-' and '.'.")
    source = load_source(task, include_path)
    docs = list(source.task.eval_docs)
    hashes = _unique_hashes(source, docs, allow_duplicates)
    items = {key: item_of_doc(source.task, doc) for key, doc in zip(hashes, docs, strict=True)}
    runs = None
    if rule is None:
        runs = dense_scores(
            scores, task, by, hashes=list(items), cross_fit=cross_fit, metric=metric, seed=seed
        )
        table: Mapping[str, float | str] = runs.scores
        direction: Harder = harder or _known(runs)
    else:
        table = {key: rule.score(item) for key, item in items.items()}
        direction = harder or rule.harder
    assignment = assign_tiers(table, bins, min_items, harder=direction, cuts=cuts, order=order)
    if assignment.categorical and harder is not None:
        raise UsageError(
            f"--harder {harder} is of numbers, and {by} gives texts. Give them in --order, from the easiest to the hardest."
        )
    return TierPlan(
        name=name or f"{_safe(task)}_{_safe(by)}",
        source=source,
        rule=by,
        assignment=assignment,
        scores=table,
        chance=_chance(source.task, assignment, items),
        seed=seed,
        min_items=min_items,
        runs=replace(runs, held_out=_by_tier(runs, assignment)) if runs else None,
    )


def write_tiers(plan: TierPlan, output: str | Path, force: bool = False) -> None:
    """Write the tiers to a new folder, which then serves as `lm_eval --include_path`.

    Raises:
        UsageError: the folder exists and is not empty, and `force` is not set.
    """
    with output_folder(output, force, ours=is_tiers) as folder:
        for file, text in tier_files(plan).items():
            (folder / file).write_text(text, encoding="utf-8")


def is_tiers(folder: Path) -> bool:
    """True for a folder that `write_tiers` wrote."""
    return (folder / "assignment.json").is_file() and (folder / "_original_yaml").is_file()


def tier_files(plan: TierPlan) -> dict[str, str]:
    """The files of the tiers, name -> text."""
    original = {**plan.source.keys, "assignment": "assignment.json"}
    output_type = plan.source.config.get("output_type")
    head = {"output_type": output_type} if output_type else {}
    files = {
        "_original_yaml": f"class: !function {CLASS}\n" + _yaml({**head, **original}),
        "assignment.json": _assignment_json(plan),
        f"{plan.name}.yaml": _group_yaml(plan),
    }
    for tier in plan.assignment.tiers:
        body = {
            "include": "_original_yaml",
            "task": f"{plan.name}_t{tier.number}",
            "tier": tier.number,
            "metadata": _metadata(plan, tier.number),
        }
        files[f"{plan.name}_t{tier.number}.yaml"] = _yaml(body)
    return files


def _metadata(plan: TierPlan, tier: int) -> dict[str, Any]:
    own = plan.source.config.get("metadata")
    version = own.get("version", 1.0) if isinstance(own, Mapping) else 1.0
    chance = plan.chance[tier]
    beside = plan.source.keys.get("metadata") or {}  # what is within `original` need not be said again
    return {
        **{key: value for key, value in beside.items() if key not in ("chance_unknown", TIERS_FROM)},
        "axis": plan.rule,
        "family": plan.source.name,
        "tier": tier,
        "n_tiers": plan.assignment.n_tiers,
        "chance": None if chance is None else round(chance, 6),
        **({"chance_unknown": UNKNOWN_CHANCE} if chance is None else {}),
        "version": version,
        **_made_from(plan, tier),
    }


def _made_from(plan: TierPlan, tier: int) -> dict[str, Any]:
    """Whose scores made the tiers, so that lm-eval's results say it and no run is judged by tiers of its own."""
    if plan.runs is None:
        return {}
    return {TIERS_FROM: [maker.to_dict() for maker in plan.runs.makers(plan.assignment.items(tier))]}


def _group_yaml(plan: TierPlan) -> str:
    means = [{"metric": metric, "aggregation": "mean", "weight_by_size": True} for metric in plan.averaged]
    body: dict[str, Any] = {
        "group": plan.name,
        "task": [f"{plan.name}_t{tier.number}" for tier in plan.assignment.tiers],
    }
    if means:
        body["aggregate_metric_list"] = means
    return _yaml({**body, "metadata": {"version": 1.0}})


def _assignment_json(plan: TierPlan) -> str:
    """Readable: a header, then one line per document, in the order of the task."""
    assignment = plan.assignment
    header: dict[str, Any] = {
        "schema": SCHEMA,
        "name": plan.name,
        "task": plan.source.name,
        "rule": plan.rule,
        "harder": assignment.harder,
        "source": plan.runs.source() if plan.runs else "the documents",
        "seed": plan.seed,
        "min_items": plan.min_items,
        "cuts": list(assignment.cuts),
        "tiers": [
            {
                "tier": t.number,
                "items": t.n_items,
                "low": t.low,
                "high": t.high,
                "chance": plan.chance[t.number],
            }
            for t in assignment.tiers
        ],
    }
    lines = [
        f'  "{key}": {json.dumps({"tier": tier, "score": plan.scores[key]}, ensure_ascii=False)}'
        for key, tier in assignment.tier_of.items()
    ]
    head = json.dumps(header, indent=1, ensure_ascii=False)[:-2]
    return f'{head},\n "items": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def _rule(by: str, scores: Sequence[str | Path]) -> Rule | None:
    """The rule, or None for a dense_* rule."""
    if by in DENSE_RULES:
        if not scores:
            raise UsageError(
                f"--by {by} needs --scores: the folder of a logged run (lm_eval --log_samples --output_path FOLDER)."
            )
        return None
    if scores:
        raise UsageError(
            f"--scores goes with {' or '.join(DENSE_RULES)}, not with --by {by}. Leave one of them out."
        )
    if ":" not in by and by not in RULES:
        allowed = [*RULES, *DENSE_RULES]
        raise UsageError(
            f"there is no rule {by!r}. Write one of {', '.join([*allowed, *FAMILIES_OF_RULES])}.{did_you_mean(by, allowed)}"
        )
    return parse_rule(by)


def _known(runs: RunScores) -> Harder:
    """Which end of the logged scores is the harder one.

    Raises:
        UsageError: nobody says which way the metric is better.
    """
    if runs.harder is None:
        raise UsageError(
            f"whether higher {runs.metric} of {runs.task!r} is better is not known: neither the runs nor its name say it. "
            "Give --harder low (the hard documents score low) or --harder high."
        )
    return runs.harder


def _unique_hashes(source: SourceTask, docs: Sequence[Any], allow_duplicates: bool) -> list[str]:
    hashes = [document_hash(doc) for doc in docs]
    if docs and document_hash(source.task.eval_docs[0]) != hashes[0]:
        raise UsageError(
            f"the documents of {source.name!r} have no stable hash (images or other objects in them), "
            "so that they cannot be told apart from run to run. Choose a text task."
        )
    twice = [key for key, n in Counter(hashes).items() if n > 1]
    if twice and not allow_duplicates:
        raise UsageError(
            f"{len(twice)} documents of {source.name!r} occur more than once ({quote(twice)}). Remove the copies from "
            "the data, or pass --allow-duplicates to put the copies of a document into one tier."
        )
    return hashes


def _chance(task: Any, assignment: TierAssignment, items: Mapping[str, Item]) -> dict[int, float | None]:
    """Expected accuracy of a uniform guess in each tier: the mean of right options / options.

    None where the task turns log-likelihoods into a score by code of its own (mc2 of TruthfulQA: the probability of
    the right options together), or into no accuracy at all (perplexity): what guessing scores there is not known.
    """
    if scored_by_own_code(task) and task.OUTPUT_TYPE != "generate_until":
        return {tier.number: None for tier in assignment.tiers}
    sums: dict[int, float] = defaultdict(float)
    for key, tier in assignment.tier_of.items():
        options = len(items[key].options)
        sums[tier] += len(items[key].answers) / options if options else 0
    return {tier.number: round(sums[tier.number] / tier.n_items, 6) for tier in assignment.tiers}


def _by_tier(runs: RunScores, assignment: TierAssignment) -> dict[int, tuple[float, float]]:
    """Tier -> mean of the scores that made it, and of those kept back (the same documents, other runs)."""
    means = {}
    for tier in assignment.tiers:
        members = [key for key in assignment.items(tier.number) if key in runs.kept_back]
        if members:
            made = sum(runs.scores[key] for key in members) / len(members)
            kept = sum(runs.kept_back[key] for key in members) / len(members)
            means[tier.number] = (made, kept)
    return means


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_")


def _yaml(body: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(body), sort_keys=False, allow_unicode=True, width=110))
