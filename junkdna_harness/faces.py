"""What the commands do, in one call each: a sweep of a model, and the gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.choose import engine_and_machine
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.sweep.run import run_sweep

if TYPE_CHECKING:
    from junkdna_harness.gate import Gate
    from junkdna_harness.sweep.engines import Tell
    from junkdna_harness.sweep.run import SweepOutcome


def sweep(
    output: str | Path,
    tasks: str | Sequence[str] = "difficulty_tiers",
    *,
    engine: str = "local",
    workers: int | None = None,
    device: str | None = None,
    batch_size: int | str | None = None,
    max_batch_size: int | None = None,
    prefix_cache: bool = True,
    extend: bool = False,
    listener: Tell | None = None,
    **grid: Any,
) -> SweepOutcome:
    """What a sweep into the folder `output` did; `difficulty.read_runs` reads the folder.

    `grid` are the options of `junkdna sweep`, e.g. `model_args="pretrained=org/model"`, `methods="magnitude,wanda"`,
    `sparsity="0:0.9:0.1"`, `quantize="rtn:4"`, `limit=100`. The same call goes on where a killed one stopped.

    Raises:
        UsageError: an option that cannot be used, or a folder that belongs to another sweep.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = sweep(folder + "/runs", "difficulty_tiers_hypernyms_t1", methods="magnitude", sparsity=0.9, limit=10)
        >>> sorted(run.method for run in done.finished)  # they come in the order in which workers end
        ['dense', 'magnitude']
    """
    options = {
        "engine": engine, "workers": workers, "device": device, "batch_size": batch_size,
        "max_batch_size": max_batch_size, "prefix_cache": prefix_cache,
    }  # fmt: skip
    chosen, machine = engine_and_machine(options)
    return run_sweep(build_plan(tasks=tasks, **grid), output, machine, chosen, extend, listener)


def check(
    new: str | Path,
    against: str | Path,
    max_drop: float | None = None,
    *,
    max_relative_drop: float | None = None,
    metric: str | None = None,
    run: str | None = None,
    baseline_run: str | None = None,
    policy: str | Path | None = None,
    **limits: Any,
) -> Gate:
    """Whether the run in `new` lost more than it may against a baseline: `.verdict` is pass, fail or inconclusive.

    Each of its `comparisons` that did not pass has `flips`: some of the items that were lost, with prompt and both answers.

    Both are what `junkdna check` takes: an lm-eval output folder, a sweep's folder, a table, or a baseline file. Without a
    limit, 0.02 in the metric's units may be lost. `limits` are further fields of `junkdna_harness.gate.Limits`; a `policy` file
    takes the place of all limits.

    Raises:
        UsageError: nothing to read, several runs and none named, runs that cannot be compared, or a policy beside other limits.

    Losses and limits are in the units of the metric: 0.02 of accuracy is two points in a hundred.

    Examples:
        >>> import tempfile
        >>> import pandas as pd
        >>> rows = [{"model": "m", "method": method, "level": level, "task": "t", "tier": 1, "item_id": str(item), "metric": "acc", "value": float(item >= lost)}
        ...         for method, level, lost in (("dense", 0.0, 0), ("wanda", 0.5, 60)) for item in range(200)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pd.DataFrame(rows).to_csv(f"{folder}/runs.csv", index=False)
        ...     gate = check(f"{folder}/runs.csv", f"{folder}/runs.csv", 0.02, run="m wanda 0.5", baseline_run="m dense")
        >>> gate.verdict
        'fail'
    """
    from junkdna_harness.gate import Limits, Policy, read_baseline, read_policy, read_run
    from junkdna_harness.gate import check as judge
    from junkdna_harness.gate.behind import with_logged_flips
    from junkdna_harness.gate.policy import DEFAULT_DROP

    allowed: Limits | Policy
    if policy is not None:
        if given := [
            name
            for name, value in {
                "max_drop": max_drop,
                "max_relative_drop": max_relative_drop,
                **limits,
            }.items()
            if value is not None
        ]:
            raise UsageError(
                f"{given[0]} and policy both say what may be lost. Write it into {str(policy)!r}, or leave one out."
            )
        allowed = read_policy(policy)
    else:
        default = DEFAULT_DROP if max_drop is None and max_relative_drop is None else max_drop
        allowed = Limits(default, max_relative_drop, **limits)
    also = allowed.metrics if isinstance(allowed, Policy) else ()
    new_run, baseline = (
        read_run(new, run, metric, (), also),
        read_baseline(against, baseline_run, metric, (), also),
    )
    outcome = judge(new_run, baseline, allowed)
    return with_logged_flips(outcome, new, against)
