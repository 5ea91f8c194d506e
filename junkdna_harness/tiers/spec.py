"""What a tier's YAML says, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.harness.tasks import packaged_tasks
from junkdna_harness.harness.versions import own_keys
from junkdna_harness.tiers import config as task_files
from junkdna_harness.tiers.split import Split

LM_EVAL_KEYS = {"task", "task_alias", "class", "metadata", "output_type", "num_fewshot"}


@dataclass(frozen=True)
class TierSpec:
    """What a tier's YAML says; see `task.py`."""

    base: str | None = None
    original: Mapping[str, Any] | None = None
    override: Mapping[str, Any] = field(default_factory=dict)
    local: Mapping[str, str] = field(default_factory=dict)
    rows: str | None = None
    split: Split | None = None
    guess_by: str | None = None
    view: Mapping[str, Any] | None = None
    fewshot_by: str | None = None
    by: str | None = None
    assignment: str | None = None
    scores: str | None = None
    tier: int | None = None
    bins: int | None = None
    cuts: tuple[float, ...] | None = None
    harder: str | None = None
    order: tuple[str, ...] | None = None
    min_items: int = 1

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> TierSpec:
        """The spec in a task's config.

        Raises:
            UsageError: a key is unknown, or neither or both of `base` and `original` are there.
        """
        known = {f.name for f in fields(TierSpec)}
        lm_evals = LM_EVAL_KEYS | own_keys(config)
        given = {key: value for key, value in config.items() if key not in lm_evals and value is not None}
        for key in given:
            if key not in known:
                raise UsageError(
                    f"a tier has no key {key!r}; it has {', '.join(sorted(known))}.{did_you_mean(key, known)}"
                )
        if "split" in given:
            given["split"] = Split.from_config(given["split"])
        for key in ("cuts", "order"):
            if key in given:
                given[key] = tuple(given[key])
        spec = TierSpec(**given)
        if (spec.base is None) == (spec.original is None):
            raise UsageError(
                f"the tier {config.get('task')!r} must name the task it is a part of: `base` (a file of lm-eval) "
                "or `original` (the task itself), one of them."
            )
        return spec

    def task_config(self) -> dict[str, Any]:
        """The config of the whole task, functions loaded, a fresh copy."""
        if self.base is not None:
            path = packaged_tasks() / self.base
            if not path.is_file():
                raise UsageError(
                    f"this version of lm-eval has no task file {self.base!r}. Install lm-eval 0.4.13."
                )
            plain: Mapping[str, Any] = task_files.read_config(path)
        else:
            plain = self.original or {}
        live: dict[str, Any] = task_files.to_live({**plain, **self.override})
        for key in ("tag", "group", "task_list"):
            live.pop(key, None)
        return live
