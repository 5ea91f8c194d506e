"""How long a report's page with 200,000 samples takes to open in Chromium, and its explorer, and how many elements it then holds.

python benchmarks/page.py                                      # needs chromium and the package playwright
python benchmarks/page.py --picture report.html docs/report.png    # the top of a page, as docs/report.md shows it
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, sync_playwright

from junkdna_harness.report.build import build
from junkdna_harness.report.explorer import explorer
from junkdna_harness.report.html import render

ITEMS, RUNS, TIMES = 10_000, 20, 7  # items, each in so many runs; openings
ANSWER = "The answer of a run in a sentence or two, as long as an answer in writing is on average, and another in each run. "


def samples(items: int, runs: int, words: int = 8) -> pd.DataFrame:
    """The tidy table of some runs on the same items, with prompts of `words` sentences and written answers."""
    rng, ids = np.random.default_rng(0), [hashlib.sha256(str(i).encode()).hexdigest() for i in range(items)]
    parts = []
    for run in range(runs):
        table = pd.DataFrame({"item_id": ids, "cluster_id": ids, "tier": np.arange(items) % 4 + 1})
        method, level = ("magnitude", run / runs) if run else ("dense", 0.0)
        value = (rng.random(items) < 0.9 - 0.8 * run / runs).astype(float)
        table = table.assign(
            model="m", method=method, level=level, bits=np.nan, replicate=0, family="f", axis="x", metric="acc", value=value,
            n_symbols=1, chance=0.0, target="yes", answer=[f"{ANSWER}{run} {i}" for i in range(items)],
        )  # fmt: skip
        parts.append(table)
    found = pd.concat(parts)
    found["task"] = "t" + found["tier"].astype(str)
    paragraph = "A question of ordinary length, with a paragraph to read before it. "
    found["prompt"] = [paragraph * words + name for name in found["item_id"]]
    return found


def opened(browser: Browser, path: Path) -> tuple[float, float, float, int]:
    """Milliseconds to the load event, from there to the explorer's first page, to the end of a search through all; elements."""
    page = browser.new_page()
    page.goto(path.as_uri())
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    first = page.evaluate(
        """async () => {
          const started = performance.now();
          document.getElementById("explorer").scrollIntoView();
          while (!document.querySelector("#list .item")) await new Promise(requestAnimationFrame);
          return performance.now() - started;
        }"""
    )
    search = page.evaluate(
        """async () => {
          const field = document.getElementById("e-text"), count = document.getElementById("e-count"), started = performance.now();
          field.value = "nowhere";
          field.dispatchEvent(new Event("input", { bubbles: true }));
          while (!count.textContent.startsWith("0 ")) await new Promise(requestAnimationFrame);
          return performance.now() - started;
        }"""
    )
    elements = page.evaluate("document.querySelectorAll('*').length")
    page.close()
    return loaded, first, search, elements


def picture(page: Path, output: Path) -> None:
    """Write the top of a page as PNG, light, on a screen of 1,280 pixels."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1280, "height": 1180}, color_scheme="light")
        opened.goto(page.resolve().as_uri())
        opened.screenshot(path=output)
        browser.close()


def main() -> None:
    """Make the pages, open each several times, print a line on each; or make a picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", nargs=2, type=Path, metavar=("PAGE", "PNG"))
    if files := parser.parse_args().picture:
        picture(*files)
        return
    cases = {"": (ITEMS, RUNS, 8), "long prompts, as much as a page takes: ": (ITEMS, RUNS, 60)}
    print(
        "| samples | flipped documents | MB | load, ms | then first page, ms | search through all, ms | elements |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for note, (items, runs, words) in cases.items():
            table, path = Path(folder) / "table.parquet", Path(folder) / "report.html"
            samples(items, runs, words).to_parquet(table)
            report = build([table], with_fit=False, with_plots=False)
            found = explorer(report)
            assert found is not None
            path.write_text(render(report), encoding="utf-8")
            times = np.array([opened(browser, path) for _ in range(TIMES)])
            slowest = max(slowest, times[:, 0].max())
            loaded, first, search, elements = (f"{value:,.0f}" for value in np.median(times, axis=0))
            there = found.head["pieces"][-1]
            print(
                f"| {note}{items * runs:,} | {there:,} of {there + found.left_out:,} | {path.stat().st_size / 1e6:.1f} | {loaded} | {first} | "
                f"{search} | {elements} |"
            )
        browser.close()
    print(f"\nMedians of {TIMES} openings; the slowest load took {slowest:.0f} ms.")


if __name__ == "__main__":
    main()
