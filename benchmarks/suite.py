"""How the graded suite was chosen: dense accuracy of every family tried, kept or dropped, in every tier.

    python benchmarks/suite.py                                  # the embedded models and SmolLM2-135M-Instruct
    python benchmarks/suite.py --models ./my-model --items 250  # any model that lm_eval's `pretrained=` takes

Prints the table of docs/tiers.md. Scores are those of `lm_eval --model junkdna-pruned --model_args pretrained=…,sparsity=0`.
A family is kept where SmolLM2 is at .9 or more in tier 1 and above chance (lower end of Wilson's 95 % interval) in three of
tiers 1 to 4 or more, and the embedded models learn it; of two forms of one family, the one further from chance in tier 4. How
anything behaves when compressed plays no part: no compressed model is asked here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from suite_dropped import DROPPED

from difficulty.graded import MEMORY, SKILLS, TIERS, Family, Item
from difficulty.graded.splits import draw_test_items
from difficulty.stats.mean import wilson

MODELS = ("embedded", "embedded:1", "embedded:2", "smollm2-135m")


def items_of(family: Family, tier: int, n_items: int) -> list[Item]:
    """The first test items of a tier, as the tasks of kept families have them."""
    level = family.levels[tier - 1]
    return draw_test_items(family, level, n_items, Random(f"{family.name}/{level}/0"))


def score(model: Any, items: list[Item]) -> list[bool]:
    """Whether each item is answered right: the best of its options, or every token of the written answer."""
    from lm_eval.api.instance import Instance

    asked = [(item.prompt, choice) for item in items for choice in item.choices or (item.answer,)]
    answers = model.loglikelihood(
        [
            Instance("loglikelihood", {}, pair, 0, ("suite", number, 1), task_name="suite", doc_id=number)
            for number, pair in enumerate(asked)
        ]
    )
    right, at = [], 0
    for item in items:
        part = answers[at : at + max(1, len(item.choices))]
        at += len(part)
        best = max(range(len(part)), key=lambda i: part[i][0])
        right.append(item.choices[best] == item.answer if item.choices else bool(part[0][1]))
    return right


def load(name: str, batch_size: int) -> Any:
    """The dense model behind lm_eval's `pretrained=`."""
    from junkdna_harness.models.pruned import PrunedLM

    return PrunedLM.create_from_arg_string(
        f"pretrained={name},sparsity=0", {"device": "cpu", "batch_size": batch_size}
    )


def measure(models: list[str], n_items: int, tiers: tuple[int, ...], batch_size: int) -> list[dict[str, Any]]:
    """One row per model, family and tier: accuracy, items, chance, and Wilson's lower end."""
    rows = []
    for name in models:
        model = load(name, batch_size)
        embedded = name.startswith("embedded")
        for family in (*SKILLS, *(MEMORY if embedded else DROPPED)):
            for tier in tiers:
                if tier > len(family.levels):
                    continue
                items = items_of(family, tier, n_items)
                right = score(model, items)
                chance = family.chance(family.levels[tier - 1])
                low, _ = wilson(np.array(float(sum(right))), np.array(float(len(right))))
                rows.append(
                    {
                        "model": name, "family": family.name, "axis": family.axis, "tier": tier, "kept": family not in DROPPED,
                        "level": family.levels[tier - 1], "items": len(items), "clusters": len({i.cluster_id for i in items}),
                        "accuracy": sum(right) / len(right), "low": float(low), "chance": chance,
                    }
                )  # fmt: skip
                print(f"{name} {family.name} {tier}: {rows[-1]['accuracy']:.3f}", flush=True)
    return rows


def table(rows: list[dict[str, Any]], tiers: tuple[int, ...]) -> str:
    """A table in Markdown: one row per family and model, tiers as columns; at chance in brackets."""
    lines = ["| family | kept | axis | model | " + " | ".join(f"tier {t}" for t in tiers) + " | chance |"]
    lines.append("| --- " * (5 + len(tiers)) + "|")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["model"]), []).append(row)
    for (family, model), cells in sorted(
        groups.items(), key=lambda entry: (not entry[1][0]["kept"], entry[0])
    ):
        by_tier = {cell["tier"]: cell for cell in cells}
        shown = [_cell(by_tier.get(tier)) for tier in tiers]
        chances = sorted({cell["chance"] for cell in cells}, reverse=True)
        chance = f"{chances[0]:.2f}" if len(chances) == 1 else f"{chances[0]:.2f} to {chances[-1]:.2g}"
        kept = "yes" if cells[0]["kept"] else "no"
        lines.append(
            f"| `{family}` | {kept} | {cells[0]['axis']} | {model} | {' | '.join(shown)} | {chance} |"
        )
    return "\n".join(lines)


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    text = f"{cell['accuracy']:.2f}"
    return text if cell["low"] > cell["chance"] else f"({text})"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--items", type=int, default=120, help="per tier")
    parser.add_argument("--tiers", type=int, nargs="+", default=list(TIERS))
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    given = parser.parse_args()
    rows = measure(given.models, given.items, tuple(given.tiers), given.batch_size)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows, tuple(given.tiers)))


if __name__ == "__main__":
    main()
