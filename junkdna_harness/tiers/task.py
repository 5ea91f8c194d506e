"""The lm-eval task class of a tier: an existing task, its prompt, answers and metrics untouched, on fewer documents.

A tier's YAML names this class and says what makes the tier:

    task: my_tier
    class: !function junkdna_harness.tiers.task.TieredTask
    base: arc/arc_easy.yaml        # a task file that ships with lm-eval; or `original: {...}`, the task itself
    override: {...}                # keys of the task to replace
    local: {test: arc_easy/test.jsonl}   # splits as files of the local data folder; rows: module:function adapts them
    split: {texts: [sentence], label: label, train: 0.6, seed: 0}   # where no local file has training rows, part those that are evaluated
    guess_by: label                # chance is the share of that column's most frequent value among the evaluated rows
    view: {function: m:f, ...}     # makes each document harder or easier (fewer options, more passages)
    fewshot_by: subject            # few-shot examples come from the rows with the document's own value in that column
    by: answer_length              # the rule (with bins, cuts, harder, order, min_items); or
    assignment: assignment.json    # what `junkdna tiers build` wrote beside the YAML; or
    scores: scores.json            # difficulty by content key; documents without a score are left out
    tier: 1                        # which tier; left out: all documents

Nothing here looks at the model or its arguments, except `data_dir`: the same files give the same items.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.part import DATA_ROWS
from difficulty.runs.provenance import TIERS_FROM
from difficulty.runs.provenance import makers as makers_in
from difficulty.visible import visible
from junkdna_harness.harness.requests import document_hash
from junkdna_harness.harness.versions import fewshot_split, takes_config, task_class
from junkdna_harness.tiers import config as task_files
from junkdna_harness.tiers.local import data_dir, local_splits, read_rows
from junkdna_harness.tiers.select import Choice, choose, source_runs
from junkdna_harness.tiers.spec import TierSpec
from junkdna_harness.tiers.split import TRAIN

logger = logging.getLogger(__name__)

# What a tier says of itself in its metadata; the whole task may say the same of itself, and mean other documents.
OF_A_TIER = ("axis", "family", "tier", "n_tiers", "chance", "chance_unknown", TIERS_FROM)
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


class TieredTask:
    """Builds the task of one tier. lm-eval calls it with the tier's config; what comes back is a `Task` of the same
    class as the whole task, with `eval_docs` cut down to the tier."""

    def __new__(cls, config: Mapping[str, Any]) -> Any:
        """The task of the tier that `config` describes."""
        spec = TierSpec.from_config(config)
        whole = spec.task_config()
        parent = whole.pop("class", None) or task_class(whole)
        if parent is TieredTask:
            raise UsageError(
                f"the task that {config.get('task')!r} is a part of is itself made of `TieredTask`, whose keys would be "
                "lost. Write those keys into the tier's own file, in place of `original`."
            )
        metadata = {**_as_mapping(whole.get("metadata")), **_as_mapping(config.get("metadata"))}
        merged = {
            **whole,
            **{
                key: config[key]
                for key in ("task", "task_alias", "num_fewshot")
                if config.get(key) is not None
            },
            "metadata": metadata,
        }
        folder = data_dir(metadata) if spec.local else None
        splits = local_splits(folder, spec.local) if folder else {}
        parted = _parted(spec, whole, splits)
        if splits:
            with_training = {**splits, parted[0]: splits[parted[1]]} if parted else splits
            merged.update(_splits_on_disk(merged, with_training))
        home = Path(str(metadata.get("config_source", ""))).parent
        own = {key: value for key, value in _as_mapping(whole.get("metadata")).items() if key in OF_A_TIER}
        members = {"_spec": spec, "_files": splits, "_parted": parted, "_home": home, "_made_of": own}
        kind = type(f"Tiered{parent.__name__}", (_Tier, parent), members)
        task = kind(config=merged) if takes_config(parent) else kind()
        makers = _makers(spec, home, metadata)
        made_from = {TIERS_FROM: makers} if makers else {}
        task.config.metadata = {**_as_mapping(task.config.metadata), **metadata, **made_from}
        if spec.split is not None:
            task.config.metadata[DATA_ROWS] = _rows_said(task)
        if spec.guess_by is not None:
            task.config.metadata["chance"] = _most_frequent(task, spec.guess_by)
        _warn_of_own_answers(task, makers, str(metadata.get("pretrained", "")))
        return task

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Never runs: it only tells lm-eval that a config is wanted."""


class _Tier:
    """What a tier changes in a task: where the rows come from, and which are evaluated."""

    _spec: TierSpec
    _files: Mapping[str, Path]
    _parted: (
        tuple[str, str] | None
    )  # the training split, where its rows are a part of another's, and that one
    _home: Path
    _made_of: Mapping[str, Any]
    _shuffled_by: int | None = None  # the seed of the few-shot examples
    sampler: Any

    def download(self, *args: Any, **kwargs: Any) -> None:
        if not self._files:
            config = self.config  # type: ignore[attr-defined]
            tiers = config.metadata
            config.metadata = {**_as_mapping(tiers), **self._made_of}  # some tasks make their documents of it
            try:
                super().download(*args, **kwargs)  # type: ignore[misc]
            finally:
                config.metadata = tiers
            return
        adapter = task_files.load_function(self._spec.rows) if self._spec.rows else None
        splits = {split: read_rows(path, adapter) for split, path in self._files.items()}
        if self._parted and self._spec.split:
            training, evaluated = self._parted
            rows = splits[evaluated]
            train, test = self._spec.split.of(list(rows), repr(str(self._files[evaluated])))
            splits |= {training: rows.select(train), evaluated: rows.select(test)}
        self.dataset = datasets.DatasetDict(splits)

    @cached_property
    def whole_docs(self) -> Any:
        """All documents of the whole task, in its order, after the tier's view of them."""
        docs = super().eval_docs  # type: ignore[misc]
        if not hasattr(self, "features") and hasattr(docs, "features"):
            self.features = list(
                docs.features
            )  # doc_to_text looks at it, and is called before lm-eval sets it
        return self._viewed(docs)

    @cached_property
    def choice(self) -> Choice:
        """Which of the whole documents are in this tier."""
        return choose(self, self.whole_docs, self._spec, self._home)

    @cached_property
    def _tier_docs(self) -> Any:
        docs, rows = self.whole_docs, self.choice.rows
        return docs.select(rows) if hasattr(docs, "select") else [docs[row] for row in rows]

    @property
    def eval_docs(self) -> Any:
        return self.whole_docs if self._spec.tier is None and self._spec.scores is None else self._tier_docs

    def fewshot_docs(self) -> Any:
        docs = super().fewshot_docs()  # type: ignore[misc]
        view = self._spec.view
        return self._viewed(docs) if docs is not None and view and view.get("fewshot") else docs

    def viewed_training_docs(self) -> Any:
        """The training documents of the whole task, seen as its evaluated ones are.

        Not `training_docs`: lm-eval takes few-shot examples from there, and those have a view of their own.
        """
        return self._viewed(super().training_docs())  # type: ignore[misc]

    def _viewed(self, docs: Any) -> Any:
        if self._spec.view is None:
            return docs
        options = {key: value for key, value in self._spec.view.items() if key not in ("function", "fewshot")}
        rows = task_files.load_function(self._spec.view["function"])(list(docs), **options)
        return datasets.Dataset.from_list(rows)

    def set_fewshot_seed(self, seed: int | None = None) -> None:
        self._shuffled_by = seed
        self._drawn.clear()
        self._samplers.clear()
        super().set_fewshot_seed(seed)  # type: ignore[misc]

    def fewshot_context(self, doc: Any, num_fewshot: int, *args: Any, **kwargs: Any) -> Any:
        if num_fewshot and hasattr(self, "sampler"):
            if self._spec.fewshot_by is not None:
                self.sampler = self._sampler_of(doc, num_fewshot)
            self._skip_draws(doc, num_fewshot)
        return super().fewshot_context(doc, num_fewshot, *args, **kwargs)  # type: ignore[misc]

    def _build_qa_turn(self, *, a: Any = None, c: Any = None, **rest: Any) -> Any:
        """lm-eval 0.5 refuses a few-shot example whose answer is a number ('75') and that has no options."""
        shown = str(a) if isinstance(a, int) and not c else a
        return super()._build_qa_turn(a=shown, c=c, **rest)  # type: ignore[misc]

    def _sampler_of(self, doc: Any, num_fewshot: int) -> Any:
        """A sampler of the examples of the document's own group: that of the task which asks this group alone.

        Raises:
            UsageError: the group has fewer examples than are asked for.
        """
        group = self._group(doc)
        examples = self._examples.get(group, [])
        others = [one for one in examples if one != doc] if self._asks_its_examples else examples
        if len(others) < num_fewshot:
            raise UsageError(
                f"{self.config.task}: {num_fewshot} few-shot examples are asked for, and the split "  # type: ignore[attr-defined]
                f"{fewshot_split(self)!r} has {len(others)} with {self._spec.fewshot_by} {group!r}. "
                f"Ask for at most {len(others)} (--num_fewshot), or add rows to that split."
            )
        if group not in self._samplers:
            self._samplers[group] = type(self.sampler)(examples, rnd=self._shuffled_by)
        return self._samplers[group]

    def _skip_draws(self, doc: Any, num_fewshot: int) -> None:
        """Draw for the documents of other tiers that come before this one, so that it gets the very examples that
        it gets in the whole task."""
        places, rows = self._places
        place = places.get(document_hash(doc))
        if place is None:
            return
        group = self._group(doc)
        drawn = self._drawn.get(group, 0)
        for earlier in rows[group][drawn:place]:
            self.sampler.sample(
                n=num_fewshot, eval_doc=self.whole_docs[earlier] if self._asks_its_examples else None
            )
        self._drawn[group] = max(drawn, place + 1)

    @property
    def _asks_its_examples(self) -> bool:
        """True where few-shot examples come from the evaluated split; lm-eval then leaves the document itself out."""
        split: str | None = self.config.test_split  # type: ignore[attr-defined]
        return fewshot_split(self) == split

    def _group(self, doc: Mapping[str, Any]) -> Any:
        """Documents of the same group share their few-shot examples; without `fewshot_by` all are one group."""
        column = self._spec.fewshot_by
        if column is None:
            return None
        if column not in doc:
            raise UsageError(
                f"{self.config.task}: a document has no column {column!r}, which `fewshot_by` names; "  # type: ignore[attr-defined]
                f"it has {', '.join(doc)}.{did_you_mean(column, doc)}"
            )
        return doc[column]

    @cached_property
    def _drawn(self) -> dict[Any, int]:
        """Group -> for how many of its documents examples were drawn."""
        return {}

    @cached_property
    def _samplers(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _examples(self) -> dict[Any, list[Any]]:
        """Group -> its few-shot examples, in the order of the split."""
        examples: dict[Any, list[Any]] = {}
        for doc in self.fewshot_docs():
            examples.setdefault(self._group(doc), []).append(doc)
        return examples

    @cached_property
    def _places(self) -> tuple[dict[str, int], dict[Any, list[int]]]:
        """Hash of a document -> its place among those of its group; group -> the rows of its documents."""
        places: dict[str, int] = {}
        rows: dict[Any, list[int]] = {}
        for row, doc in enumerate(self.whole_docs):
            members = rows.setdefault(self._group(doc), [])
            places[document_hash(doc)] = len(members)
            members.append(row)
        return places, rows


def _makers(spec: TierSpec, home: Path, metadata: Mapping[str, Any]) -> list[Any]:
    """The runs whose scores made the tiers: as the task says, else as the assignment or the scores do."""
    return list(metadata.get(TIERS_FROM) or ()) or source_runs(
        home / spec.assignment if spec.assignment else None, home / spec.scores if spec.scores else None
    )


def _warn_of_own_answers(task: Any, makers: list[Any], pretrained: str) -> None:
    """A warning when the evaluated model is the one whose answers made the tiers; the items stay what they are."""
    for maker in dict.fromkeys(one.run.model for one in makers_in(makers, f"task {task.config.task!r}")):
        if pretrained and maker.lower().replace("__", "/").strip("/") in pretrained.lower():
            logger.warning(
                f"{visible(task.config.task)}: these tiers were made from the answers of {visible(maker)}, which is evaluated now: expect "
                "regression to the mean (part of the hard tier is bad luck that a new run does not repeat)."
            )


def _parted(spec: TierSpec, whole: Mapping[str, Any], files: Mapping[str, Path]) -> tuple[str, str] | None:
    """The training split and the evaluated one, whose rows are parted: where the tier says how, and no file has training rows."""
    if spec.split is None or not files:
        return None
    training = str(whole.get("training_split") or TRAIN)
    evaluated = [str(whole[key]) for key in ("test_split", "validation_split") if whole.get(key) in files]
    return (training, evaluated[0]) if evaluated and training not in files else None


def _rows_said(task: Any) -> str:
    """Where the training and the test rows of a task come from, in words."""
    trained, tested = task.config.training_split, task.config.test_split or task.config.validation_split
    n_train, n_test = len(task.dataset[trained]), len(task.dataset[tested])
    if task._parted:
        said: str = task._spec.split.said(tested, n_train, n_test)
        return said
    where = "local files" if task._files else "the hub"
    return f"rows of {where}: {n_train:,} train ({trained}), {n_test:,} test ({tested})"


def _most_frequent(task: Any, column: str) -> float:
    """What who knows how frequent the answers are, and nothing else, scores: training tells that to every model.

    Raises:
        UsageError: the evaluated rows have no such column.
    """
    docs = task.whole_docs
    if any(column not in doc for doc in docs):
        raise UsageError(
            f"{task.config.task}: a document has no column {column!r}, which `guess_by` names; it has {', '.join(docs[0])}."
        )
    return round(Counter(doc[column] for doc in docs).most_common(1)[0][1] / len(docs), 6)


def _splits_on_disk(whole: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """The split names of a task whose rows lie on disk: those that are absent are dropped, and few-shot examples come
    from the first split that is not evaluated, else from the evaluated one (lm-eval then leaves the document out)."""
    kept = {key: whole.get(key) if whole.get(key) in files else None for key in SPLITS}
    evaluated = kept["test_split"] or kept["validation_split"]
    if evaluated is None:
        raise UsageError(
            f"the local files hold the splits {sorted(files)}, none of which the task evaluates "
            f"({whole.get('test_split') or whole.get('validation_split')!r}). Name the split as the task does."
        )
    others = [split for split in files if split != evaluated]
    kept["fewshot_split"] = (
        kept["fewshot_split"] or kept["training_split"] or (others[0] if others else evaluated)
    )
    return {
        **kept,
        "test_split": evaluated,
        "validation_split": None,
        "dataset_path": "json",
        "dataset_name": None,
    }


def _as_mapping(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {"version": value}
