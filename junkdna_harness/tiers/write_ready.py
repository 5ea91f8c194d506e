"""Writes `task_configs/benchmarks/` from the table in `ready`:

python -m junkdna_harness.tiers.write_ready task_configs/benchmarks
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from junkdna_harness.tiers.ready import Group, collections, groups
from junkdna_harness.tiers.source import CLASS


def files() -> dict[str, str]:
    """File name -> text of every YAML of `task_configs/benchmarks`."""
    written: dict[str, str] = {}
    for group in groups():
        written.update(_group_files(group))
    for name, parts in collections().items():
        written[f"{name}.yaml"] = _yaml({"group": name, "task": list(parts), "metadata": {"version": 1.0}})
    return dict(sorted(written.items()))


def _group_files(group: Group) -> dict[str, str]:
    names, written = [], {}
    for number, (benchmark, keys) in enumerate(group.members, start=1):
        name = f"{group.name}_t{number}"
        names.append(name)
        chance = group.chances[number - 1] if group.chances else benchmark.chance
        merged = {**benchmark.keys, **keys}
        if "original" in merged and "override" in merged:
            merged["original"] = {**merged["original"], **merged.pop("override")}
        metadata = {
            "axis": group.axis,
            "family": group.family,
            "tier": number,
            "n_tiers": len(group.members),
            "chance": round(chance, 6),
            "version": benchmark.version,
        }
        if benchmark.cluster:
            metadata["cluster_field"] = benchmark.cluster
        body = _yaml({"task": name, **merged, "metadata": metadata})
        written[f"{name}.yaml"] = f"class: !function {CLASS}\n{body}"
    head: dict[str, Any] = {"group": group.name, "task": names}
    metrics = sorted({metric for benchmark, _ in group.members for metric in benchmark.metrics})
    if len({benchmark.metrics for benchmark, _ in group.members}) == 1 and group.axis != "factoid_vs_choice":
        head["aggregate_metric_list"] = [
            {"metric": metric, "aggregation": "mean", "weight_by_size": True} for metric in metrics
        ]
    written[f"{group.name}.yaml"] = _yaml({**head, "metadata": {"version": 1.0}})
    return written


def _yaml(body: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.dump(dict(body), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=110))


def _dumper() -> Any:
    """YAML without anchors: every file can be read on its own."""
    import yaml

    return type("Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda self, data: True})


def main(folder: str) -> None:
    """Write the YAML files, and remove those that the table no longer has."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for path in target.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
