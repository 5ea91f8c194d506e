"""Write the YAMLs of the graded suite from the families' definitions: `python task_configs/graded/write_configs.py`."""

from __future__ import annotations

from pathlib import Path

from difficulty.graded import FAMILIES, MEMORY, SKILLS, Family

VERSION = 1.0
SUITES = {"difficulty_tiers": SKILLS, "difficulty_tiers_memory": MEMORY}


def task_yaml(family: Family, tier: int) -> str:
    """The YAML of one tier."""
    template = "_options_yaml" if family.name == "options" else "_recitation_yaml"
    return (
        f"include: {template}\n"
        f"task: difficulty_tiers_{family.name}_t{tier}\n"
        "metadata:\n"
        f"  axis: {family.axis}\n"
        f"  family: {family.name}\n"
        f"  tier: {tier}\n"
        f"  n_tiers: {len(family.levels)}\n"
        f"  level: {family.levels[tier - 1]} # {family.axis_label}\n"
        f"  chance: {family.chance[tier - 1]:.8f}\n"
        "  cluster_field: cluster\n"
        f"  version: {VERSION}\n"
    )


def group_yaml(group: str, members: list[str], aggregate: bool = True) -> str:
    """The YAML of a group."""
    lines = [f"group: {group}", "task:", *(f"  - {member}" for member in members)]
    if aggregate:
        lines += ["aggregate_metric_list:", "  - metric: acc", "    weight_by_size: true"]
    lines += ["metadata:", f"  version: {VERSION}"]
    return "\n".join(lines) + "\n"


def all_files() -> dict[str, str]:
    """File name -> content, for every task and group of the suite."""
    files = {}
    for family in FAMILIES.values():
        tiers = range(1, len(family.levels) + 1)
        tasks = [f"difficulty_tiers_{family.name}_t{tier}" for tier in tiers]
        for tier, task in zip(tiers, tasks, strict=True):
            files[f"{family.name}/{task}.yaml"] = task_yaml(family, tier).replace("include: ", "include: ../")
        group = f"difficulty_tiers_{family.name}"
        files[f"{family.name}/{group}.yaml"] = group_yaml(group, tasks)
    for suite, families in SUITES.items():
        files[f"{suite}.yaml"] = group_yaml(suite, [f"difficulty_tiers_{family.name}" for family in families])
    return files


if __name__ == "__main__":
    for name, content in all_files().items():
        path = Path(__file__).parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
