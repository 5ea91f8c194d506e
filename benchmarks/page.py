"""How long a report's page with 20,000 samples takes to open in Chromium, and how many elements it then holds.

python benchmarks/page.py            # needs chromium and the package playwright
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from junkdna_harness.report.build import build
from junkdna_harness.report.html import render

ITEMS, TIMES = 10_000, 7  # items, each in two runs; openings


def samples() -> pd.DataFrame:
    """The tidy table of two runs on the same items, with prompts of 68 words."""
    rng, ids = np.random.default_rng(0), [hashlib.sha256(str(i).encode()).hexdigest() for i in range(ITEMS)]
    runs = []
    for run, method, level, share in (("dense", "dense", 0.0, 0.9), ("half", "magnitude", 0.5, 0.4)):
        table = pd.DataFrame({"item_id": ids, "cluster_id": ids, "tier": np.arange(ITEMS) % 4 + 1})
        table = table.assign(
            run=run, model="m", method=method, level=level, bits=np.nan, replicate=0, family="f", axis="x",
            metric="acc", value=(rng.random(ITEMS) < share).astype(float), n_symbols=1, chance=0.0, target="yes",
            answer="no",
        )  # fmt: skip
        runs.append(table)
    found = pd.concat(runs)
    found["task"] = "t" + found["tier"].astype(str)
    paragraph = "A question of ordinary length, with a paragraph to read before it. "
    found["prompt"] = [paragraph * 8 + name for name in found["item_id"]]
    return found


def main() -> None:
    """Make the page, open it several times, print one line."""
    with tempfile.TemporaryDirectory() as folder:
        table, path = Path(folder) / "table.parquet", Path(folder) / "report.html"
        samples().to_parquet(table)
        path.write_text(render(build([table], with_fit=False)), encoding="utf-8")
        times, elements = [], 0
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for _ in range(TIMES):
                page = browser.new_page()
                page.goto(path.as_uri())
                times.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
                elements = page.evaluate("document.querySelectorAll('*').length")
                page.close()
            browser.close()
        print(
            f"{2 * ITEMS:,} samples, {path.stat().st_size / 1e6:.1f} MB: loaded in {statistics.median(times):.0f} ms "
            f"(median of {TIMES}, largest {max(times):.0f} ms), {elements:,} elements"
        )


if __name__ == "__main__":
    main()
