"""What `junkdna sweep --preregister` writes down before anything is evaluated: the plan, its tasks, and the rules of the verdicts."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from difficulty.judge.judgement import N_RESAMPLES
from difficulty.judge.prereg import KIND, SCALES, SCHEMA, Prereg, check_prereg, write_prereg
from difficulty.judge.verdicts import CLAIMS, Rules
from difficulty.runs.store import MATCH_LOSS, finished_runs
from junkdna_harness.harness.tasks import find_tasks, load_tasks
from junkdna_harness.harness.versions import sample_size
from junkdna_harness.sweep.plan import Plan

_OTHERS = ("claims", "metric", "margins", "resamples", "seed")  # options of fit that are no field of `Rules`


@dataclass(frozen=True)
class Verdicts:
    """How the runs are going to be judged; the names are those of `fit`'s options."""

    rules: Rules = field(default_factory=Rules)
    claims: tuple[str, ...] = CLAIMS
    metric: str | None = None
    margins: bool = True
    n_resamples: int = N_RESAMPLES
    seed: int = 0


def parse_verdicts(given: Sequence[str]) -> Verdicts:
    """The verdicts' options from `delta-tier=0.2`, `claims=P2,P4`, `resamples=4000`; what is left out is `fit`'s default.

    Raises:
        UsageError: an unknown name, one that is there twice, or a value that it cannot have.
    """
    names = [f.name for f in fields(Rules)]
    known = [*(name.replace("_", "-") for name in names), *_OTHERS]
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("_", "-")
        if not equals or name not in known:
            raise UsageError(
                f"--rule {text!r} is no option of fit with a value. Write NAME=VALUE with one of {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
        if name in found:
            raise UsageError(f"--rule names {name} twice. Name it once.")
        found[name] = value
    rules = Rules(**{n: _number(o, found[o], float) for n in names if (o := n.replace("_", "-")) in found})
    names_of = {claim.casefold(): claim for claim in CLAIMS}
    asked = [claim.strip() for claim in found.get("claims", ",".join(CLAIMS)).split(",")]
    if unknown := [claim for claim in asked if claim.casefold() not in names_of]:
        raise UsageError(f"there is no claim {unknown[0]!r}. Claims: {', '.join(CLAIMS)}.")
    claims = tuple(dict.fromkeys(names_of[claim.casefold()] for claim in asked))
    if (margins := found.get("margins", "yes")) not in ("yes", "no"):
        raise UsageError(
            f"--rule margins={margins} is neither yes nor no. With no, accuracy alone is judged."
        )
    resamples = _number("resamples", found.get("resamples", str(N_RESAMPLES)), int)
    return Verdicts(
        rules,
        claims,
        found.get("metric"),
        margins == "yes",
        resamples,
        _number("seed", found.get("seed", "0"), int),
    )


def content_of(plan: Plan, verdicts: Verdicts) -> dict[str, Any]:
    """What is written down of a plan. Loads the tasks, no model.

    Raises:
        UsageError: a task is unknown, or none can be loaded.
    """
    tasks = _tasks(plan)
    families: dict[str, list[int]] = {}
    for task in tasks.values():
        if task["tier"] is not None:
            families[task["family"]] = sorted({*families.get(task["family"], []), task["tier"]})
    runs = [plan.run(cell) for cell in plan.cells]
    content = {
        "kind": KIND,
        "schema": SCHEMA,
        "registered": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": version("junkdna-harness"),
        "models": list(dict.fromkeys(run.model for run in runs)),
        "model_args": [dict(model) for model in plan.models],
        "grid": _grid(plan),
        "evaluation": {
            **asdict(plan.settings), "tasks": list(plan.settings.tasks), "seed": list(plan.settings.seed),
        },
        "verdicts": {
            "claims": list(verdicts.claims),
            "scales": SCALES,
            "margins": verdicts.margins,
            "metric": verdicts.metric,
            "rules": asdict(verdicts.rules),
            "n_resamples": verdicts.n_resamples,
            "seed": verdicts.seed,
        },
        "families": families,
        "tasks": tasks,
        "runs": [
            {
                "run": str(run), "model": run.model, "method": str(run.method), "level": run.level, "bits": run.bits,
                "replicate": run.replicate, "arguments": dict(cell.arguments),
            }
            for run, cell in zip(runs, plan.cells, strict=True)
        ],
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return plain


def check(path: Path, content: Mapping[str, Any], folder: Path) -> None:
    """Refuse, before anything is written, what could not be registered.

    Raises:
        UsageError: the file holds another plan, or there are runs in the folder already that no file registered.
    """
    check_prereg(path, content)
    if not path.exists() and (there := finished_runs(folder)):
        raise UsageError(
            f"{str(folder)!r} holds {len(there)} finished runs already, and a plan is registered before anything is evaluated. "
            "Register a new folder's, or leave --preregister out."
        )


def register(path: Path, content: Mapping[str, Any]) -> Prereg:
    """Write the file, or find the same plan in it.

    Raises:
        UsageError: it holds another plan, or cannot be written.
    """
    return write_prereg(path, content)


def _tasks(plan: Plan) -> dict[str, dict[str, Any]]:
    """Task -> family, axis, tier, and number of items; None where a task cannot be loaded, or has no number of a tier."""
    settings = plan.settings
    manager, names = find_tasks(settings.tasks, settings.include_path, plan.metadata(0))
    loaded = load_tasks(manager, names)
    found: dict[str, dict[str, Any]] = {}
    for name, task in loaded.tasks.items():
        metadata = task.dump_config().get("metadata")
        said = metadata if isinstance(metadata, Mapping) else {}
        found[name] = {
            "family": str(said.get("family") or name),
            "axis": str(said.get("axis") or ""),
            "tier": int(said.get("tier") or 1),
            "n_items": min(len(task.eval_docs), sample_size(task, settings.limit) or len(task.eval_docs)),
        }
    for name in loaded.failed:
        found[name] = {"family": None, "axis": None, "tier": None, "n_items": None}
    return found


def _grid(plan: Plan) -> dict[str, Any]:
    """Method -> its levels, patterns, bits and number of replicates, for the eye; `runs` has every single one."""
    found: dict[str, dict[str, Any]] = {}
    for cell in plan.cells:
        entry = found.setdefault(cell.method, {"levels": [], "patterns": [], "bits": [], "replicates": 1})
        level = None if cell.pattern else cell.level
        for name, value in (("levels", level), ("patterns", cell.pattern), ("bits", cell.bits)):
            if value is not None and value not in entry[name]:
                entry[name].append(value)
        entry["replicates"] = max(entry["replicates"], cell.replicate + 1)
    later = plan.later
    if later is None:
        return {"methods": found}
    by_rule = [f"refine {later.refine}"] if later.refine is not None else []
    return {
        "methods": found,
        "by_rule": [*by_rule, *([MATCH_LOSS] if later.controls else [])],
        "matched": list(later.controls),
    }


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise UsageError(
            f"--rule {name}={text} is no {'whole ' * (kind is int)}number. Write e.g. {name}=1."
        ) from None
