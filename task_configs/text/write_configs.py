"""Write the YAMLs of the token tasks: `python task_configs/text/write_configs.py`."""

from __future__ import annotations

from pathlib import Path

from junkdna_harness.texts.tiers import AXES, FAMILIES, TIERS

VERSION = 1.0
HERE = Path(__file__).parent
GROUP = "difficulty_tiers_text"


def task_yaml(family: str, tier: int) -> str:
    """The YAML of one tier."""
    return (
        "include: _token_yaml\n"
        f"task: {GROUP}_{family}_t{tier}\n"
        "metadata:\n"
        f"  axis: {AXES[family].replace(' ', '_')}\n"
        f"  family: text_{family}\n"
        f"  tier: {tier}\n"
        f"  n_tiers: {len(TIERS)}\n"
        "  chance: 0.0\n"
        "  cluster_field: block\n"
        f"  version: {VERSION}\n"
    )


def group_yaml(group: str, members: list[str]) -> str:
    """The YAML of a group."""
    lines = [f"group: {group}", "task:", *(f"  - {member}" for member in members)]
    lines += [
        "aggregate_metric_list:",
        "  - metric: acc",
        "    weight_by_size: true",
        "metadata:",
        f"  version: {VERSION}",
    ]
    return "\n".join(lines) + "\n"


def all_files() -> dict[str, str]:
    """File name -> content."""
    files = {f"{GROUP}.yaml": group_yaml(GROUP, [f"{GROUP}_{family}" for family in FAMILIES])}
    for family in (*FAMILIES, "surprisal"):  # the last is asked by name alone: it needs another model
        members = [f"{GROUP}_{family}_t{tier}" for tier in TIERS]
        files[f"{GROUP}_{family}.yaml"] = group_yaml(f"{GROUP}_{family}", members)
        files |= {f"{name}.yaml": task_yaml(family, tier) for name, tier in zip(members, TIERS, strict=True)}
    return files


if __name__ == "__main__":
    for name, content in all_files().items():
        (HERE / name).write_text(content)
