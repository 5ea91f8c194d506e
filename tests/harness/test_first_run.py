"""What a new user sees of the first run in a pipe: no warnings, no carriage returns, and what is asked and how long it takes."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_first_run_says_what_it_does_and_nothing_that_tells_nothing(dense_run: Path) -> None:
    said = (dense_run.parent / "stderr").read_bytes().decode()
    assert "\r" not in said
    assert "it/s]" not in said
    assert [line for line in said.splitlines() if " WARNING " in line] == []
    (line,) = [line for line in said.splitlines() if "an estimate" in line]
    assert re.fullmatch(
        r"junkdna-pruned: note: [\d,]+ requests to embedded magnitude 0: about \d+(\.\d)? (s|min|h) "
        r"\(an estimate, from the first \d+ s\)",
        line,
    )
