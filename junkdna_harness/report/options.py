"""What was asked of a report, from which its page says how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """As `build` takes them: order of rows, what is selected, labels, metric, seed, and whether prompts may differ."""

    sort: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    metric: str | None = None
    seed: int = 0
    allow_different_prompts: bool = False

    def command(self, sources: Sequence[str], by: Sequence[str], more: Sequence[str] = ()) -> str:
        """`junkdna report` with these options, as a shell takes it; `more` comes last."""
        words = [
            "junkdna",
            "report",
            *(path if not path.startswith("-") else f"./{path}" for path in sources),
        ]
        for name, values in (("by", by), ("select", self.rules), ("sort", self.sort), ("label", self.labels)):
            words += [f"--{name}={value}" for value in values]
        words += [f"--metric={self.metric}"] if self.metric else []
        words += [f"--seed={self.seed}"] if self.seed else []
        words += ["--allow-different-prompts"] if self.allow_different_prompts else []
        return shlex.join([*words, *more])
