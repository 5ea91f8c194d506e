"""Which runs the tiers were cut from, so that none of them is judged by its own tiers.

Tiers that are cut from a run's own scores hold its luck: its hard items are in part those that it got wrong by chance, and
any other run does better on them (regression to the mean). A tier's task says in its metadata, under `tiers_from`, whose
scores made it; the tidy table has the same in the column of that name, as JSON text: a list with one entry per run,

    {"model": "llama", "method": "dense", "level": 0.0, "bits": null, "replicate": 0, "weights_sha256": "...",
     "cross_fitted": false}

of which only `model` must be there. In place of an entry the id of a run may stand (`"llama magnitude 0.5"`). `cross_fitted`
says that another evaluation of the same state was kept back to judge with; then the run's name does not tell the two apart,
and `prompts` (item id -> prompt hash), where it is there, does. An empty cell says nothing; tiers by a rule of the items
have none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from difficulty.errors import UsageError
from difficulty.runs.identity import DENSE, Method, Run

TIERS_FROM = "tiers_from"
_TEXT, _NUMBER = (str,), (int, float)
_ENTRY: Mapping[str, tuple[type, ...]] = {
    "run": _TEXT, "model": _TEXT, "method": _TEXT, "level": _NUMBER, "bits": _NUMBER, "replicate": (int,),
    "weights_sha256": _TEXT, "cross_fitted": (bool,), "prompts": (dict,),
}  # fmt: skip


@dataclass(frozen=True)
class Maker:
    """A run whose scores made tiers. `prompts`: item id -> hash of what it was asked, where only that tells it apart."""

    run: Run
    weights_sha256: str | None = None
    cross_fitted: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As metadata and tables hold it."""
        run = self.run
        entry: dict[str, Any] = {
            "run": str(run), "model": run.model, "method": str(run.method), "level": run.level, "bits": run.bits,
            "replicate": run.replicate, "weights_sha256": self.weights_sha256, "cross_fitted": self.cross_fitted,
        }  # fmt: skip
        return {**entry, "prompts": dict(self.prompts)} if self.prompts else entry


def makers(given: object, where: str) -> tuple[Maker, ...]:
    """The runs in a `tiers_from` as metadata hold it, or as the JSON text of a table's cell. None and "" hold none.

    Raises:
        UsageError: it is no list of runs; `where` begins the sentence.
    """
    if given is None or given == "" or (isinstance(given, float) and given != given):
        return ()
    listed = given
    if isinstance(given, str):
        try:
            listed = json.loads(given)
        except ValueError:
            listed = given
    if not isinstance(listed, (list, tuple)):
        raise UsageError(f"{where} has {TIERS_FROM}={_short(given)}. {_WANTED}")
    return tuple(_maker(entry, where) for entry in listed)


_WANTED = 'Write a list there of the runs whose scores made the tiers: their ids, or {"model": ..., "method": ..., "level": ...}.'


def cell(given: object, where: str) -> str:
    """`tiers_from` of a task's metadata as the text of a table's cell; empty where there is none.

    Raises:
        UsageError: it is no list of runs.
    """
    return as_text(makers(given, where))


def as_text(found: Sequence[Maker]) -> str:
    """Makers as the text of a table's cell: the same runs give the same text."""
    if not found:
        return ""
    return json.dumps([maker.to_dict() for maker in found], sort_keys=True, ensure_ascii=False)


def makers_of(table: pd.DataFrame) -> dict[str, tuple[Maker, ...]]:
    """Family -> the runs that its tiers were cut from, as far as its rows say. Families of which nothing is said are left out.

    Raises:
        UsageError: a cell of the column is no list of runs.
    """
    if TIERS_FROM not in table:
        return {}
    found: dict[str, dict[str, Maker]] = {}
    said = table[["family", TIERS_FROM]].drop_duplicates()
    for family, text in said.itertuples(index=False):
        for maker in makers(text, "the table"):
            found.setdefault(str(family), {})[as_text([maker])] = maker
    return {family: tuple(by_text.values()) for family, by_text in found.items()}


def cut_from(table: pd.DataFrame, runs: pd.DataFrame | None = None) -> dict[str, tuple[str, ...]]:
    """Family -> ids of the runs of `table` that its tiers were cut from; families cut from none of them are left out.

    `runs`: the runs table, whose `weights_sha256` are used. A run is a maker where its weights have the maker's hash; where
    no run has it, where it has the maker's model, method, level, bits and replicate. A maker that was cross-fitted is one
    only where it is shown to be that very evaluation: where its prompts are known and the run was asked the same.

    Raises:
        UsageError: a cell of the column `tiers_from` is no list of runs.
    """
    known = makers_of(table)
    if not known:
        return {}
    there = {
        str(row.run): Run(
            str(row.model), Method.parse(str(row.method)), row.level, row.bits, int(row.replicate)
        )
        for row in table[["run", "model", "method", "level", "bits", "replicate"]]
        .drop_duplicates()
        .itertuples()
    }
    weights = _weights(runs)
    judged: dict[str, dict[str, Run]] = {}
    for family, name in table[["family", "run"]].drop_duplicates().itertuples(index=False):
        judged.setdefault(str(family), {})[str(name)] = there[str(name)]
    found: dict[str, tuple[str, ...]] = {}
    for family, its in known.items():
        names = {
            name
            for maker in its
            for name in _same_state(maker, judged[family], weights)
            if not maker.cross_fitted or _same_prompts(maker, table, family, name)
        }
        if names:
            found[family] = tuple(name for name in there if name in names)
    return found


def _same_state(maker: Maker, there: Mapping[str, Run], weights: Mapping[str, str]) -> list[str]:
    """By the weights, where a run has them: replicates are numbered anew in every table. Else by name."""
    same = [name for name in there if maker.weights_sha256 and weights.get(name) == maker.weights_sha256]
    return same or [name for name, run in there.items() if _plain(run) == _plain(maker.run)]


def _same_prompts(maker: Maker, table: pd.DataFrame, family: str, run: str) -> bool:
    """True where the run was asked what the maker was asked, on every item of which both are known."""
    if not maker.prompts or "prompt_hash" not in table:
        return False
    rows = table[table["item_id"].isin(list(maker.prompts))]
    rows = rows[(rows["family"] == family) & (rows["run"] == run)]
    asked = dict(zip(rows["item_id"].astype(str), rows["prompt_hash"].astype(str), strict=True))
    return bool(asked) and all(maker.prompts[item] == text for item, text in asked.items())


def _weights(runs: pd.DataFrame | None) -> dict[str, str]:
    if runs is None or "weights_sha256" not in runs:
        return {}
    pairs = zip(runs["run"], runs["weights_sha256"], strict=True)
    return {str(run): sha256 for run, sha256 in pairs if isinstance(sha256, str) and sha256}


def _plain(run: Run) -> Run:
    """The run with its model's name as it is compared: lm-eval's folders have `__` for `/`, and disks know no capitals."""
    return replace(run, model=run.model.replace("__", "/").strip("/").casefold())


def _maker(entry: object, where: str) -> Maker:
    if isinstance(entry, str):
        return Maker(Run.parse(entry))
    if not isinstance(entry, Mapping) or not entry.get("model"):
        raise UsageError(f"{where} has {_short(entry)} in {TIERS_FROM}, which names no run. {_WANTED}")
    for name, value in entry.items():
        kinds = _ENTRY.get(str(name))
        if kinds is None or (value is not None and not isinstance(value, kinds)):
            raise UsageError(
                f"{where} has {name}={_short(value)} in {TIERS_FROM}. An entry has {', '.join(_ENTRY)}; only model must be there."
            )
    run = Run(
        entry["model"], Method.parse(entry.get("method") or DENSE), entry.get("level"), entry.get("bits"),
        entry.get("replicate") or 0,
    )  # fmt: skip
    prompts = {str(item): str(text) for item, text in (entry.get("prompts") or {}).items()}
    return Maker(run, entry.get("weights_sha256") or None, bool(entry.get("cross_fitted")), prompts)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
