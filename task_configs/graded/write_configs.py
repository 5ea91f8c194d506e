"""Write the YAMLs of the graded suite from the families' definitions: `python task_configs/graded/write_configs.py`."""

from __future__ import annotations

from pathlib import Path

from difficulty.graded import HARD_TIERS, MEMORY, SKILLS, TIERS, Family
from difficulty.graded.splits import test_items

VERSION = 2.0
HERE = Path(__file__).parent


def task_yaml(family: Family, tier: int) -> str:
    """The YAML of one tier."""
    level = family.levels[tier - 1]
    (item,) = test_items(family.name, tier, 1)
    template = "_options_yaml" if item.choices else "_written_yaml"
    return (
        f"include: ../{template}\n"
        f"task: {task_name(family, tier)}\n"
        "metadata:\n"
        f"  axis: {family.axis}\n"
        f"  family: {family.name}\n"
        f"  tier: {tier}\n"
        f"  n_tiers: {len(family.levels)}\n"
        f"  level: {level} # {family.axis_label}\n"
        f"  chance: {family.chance(level):.8f}\n"
        "  cluster_field: cluster\n"
        f"  version: {VERSION}\n"
    )


def task_name(family: Family, tier: int) -> str:
    """The lm-eval task of one tier."""
    return f"difficulty_tiers_{family.name}_t{tier}"


def group_yaml(group: str, members: list[str]) -> str:
    """The YAML of a group."""
    lines = [f"group: {group}", "task:", *(f"  - {member}" for member in members)]
    lines += ["aggregate_metric_list:", "  - metric: acc", "    weight_by_size: true"]
    lines += ["metadata:", f"  version: {VERSION}"]
    return "\n".join(lines) + "\n"


def all_files() -> dict[str, str]:
    """File name -> content, for every task and group of the suites."""
    files = {}
    for suite, families, tiers, ending in (
        ("difficulty_tiers", SKILLS, TIERS, ""),
        ("difficulty_tiers_hard", SKILLS, HARD_TIERS, "_hard"),
        ("difficulty_tiers_memory", MEMORY, TIERS, ""),
    ):
        groups = {f"difficulty_tiers_{family.name}{ending}": family for family in families}
        for group, family in groups.items():
            for tier in tiers:
                files[f"{family.name}/{task_name(family, tier)}.yaml"] = task_yaml(family, tier)
            members = [task_name(family, tier) for tier in tiers]
            files[f"{family.name}/{group}.yaml"] = group_yaml(group, members)
        files[f"{suite}.yaml"] = group_yaml(suite, list(groups))
    return files


def write() -> None:
    """Write every file, and take away those of families that are no more."""
    files = all_files()
    for path in HERE.glob("**/*.yaml"):
        if str(path.relative_to(HERE)) not in files:
            path.unlink()
    for name, content in files.items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    for folder in HERE.iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


if __name__ == "__main__":
    write()
