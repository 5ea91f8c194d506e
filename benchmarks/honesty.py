"""Are the verdicts honest? Worlds with a known truth (`honesty_worlds.py`), judged many times.

    python benchmarks/honesty.py                              # all worlds, 200 draws of each
    python benchmarks/honesty.py --worlds masks,P6 --runs 50  # those whose section or name holds one of these words
    python benchmarks/honesty.py --quick                      # 20 draws, to see that it runs

Every draw is kept in --folder, one file a world, so that a run that is cut short goes on where it was; draws of other worlds or
of other rules (the code of difficulty/judge, stats and simulate) are made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")  # one process a core: more threads only get in each other's way
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
from honesty_means import clustered_lines, tail_lines  # noqa: E402
from honesty_worlds import WANTED, Case, Want, cases  # noqa: E402

import difficulty.judge.judgement as judging  # noqa: E402
from difficulty.errors import UsageError  # noqa: E402
from difficulty.judge.panel import Panel  # noqa: E402
from difficulty.judge.verdicts import CLAIMS, Claim, Rules  # noqa: E402
from difficulty.simulate.draw import simulate  # noqa: E402
from difficulty.simulate.world import World  # noqa: E402

RESAMPLES = 400
CHUNK = 10  # draws judged by a process before it reports
_THIS = re.compile(r"this (mask|training|calibration)")
UNITS = ("T", "S", "A")  # the scales that the truth is given in
VERDICTS = ("supported", "refuted", "inconclusive")
Draw = dict[str, Any]  # seed, naive, and by claim: see `_record`


def judge(world: World, claims: Iterable[str], seed: int) -> Draw:
    """One draw of `world`, judged: the headline of each claim, and t of the usual analysis."""
    panel = simulate(world, seed)
    known = tuple(name for name in claims if name in CLAIMS)
    found: Draw = {"seed": seed, "naive": naive(panel)}
    if not known:
        return found
    try:
        judged = judging.judge_panel(
            panel, Rules(), {}, known, RESAMPLES, seed, cross_checks=False, tables=False
        )[1]
    except UsageError as error:
        return found | {name: {"verdict": "inconclusive", "says": str(error)} for name in known}
    except Exception as error:  # a fault of ours: the row says so, and the other worlds go on
        return found | {name: {"verdict": "crashed", "says": repr(error)} for name in known}
    return found | {c.claim: _record(c) for c in judged if c.scope.headline}


def _record(claim: Claim) -> dict[str, Any]:
    """What is kept of a claim; `scales`: the interval on each scale, in families like these and in these."""
    scales = {}
    for name, forms in claim.details.get("scales", {}).items():
        each = {
            form: [forms[form]["ci_low"], forms[form]["ci_high"]]
            for form in ("like", "these")
            if form in forms
        }
        scales[name] = each
    return {
        "verdict": claim.verdict if claim.verdict in VERDICTS else "inconclusive",
        "estimate": claim.estimate,
        "says": f"{claim.about}: {claim.reason}",
        "scales": scales,
    }


def naive(panel: Panel) -> float:
    """t of the usual analysis: slope of the accuracy lost in the last run on the tier, items as they come."""
    tier = panel.items["tier"].to_numpy()
    lost = panel.score[:, 0] - panel.score[:, -1]
    tiers = np.unique(tier)
    means = np.array([lost[tier == t].mean() for t in tiers])
    errors = np.array([lost[tier == t].std(ddof=1) / np.sqrt((tier == t).sum()) for t in tiers])
    weights = (tiers - tiers.mean()) / ((tiers - tiers.mean()) ** 2).sum()
    error = float(np.sqrt((weights**2) @ errors**2))
    return float(weights @ means) / error if error else 0.0


def _chunk(task: tuple[World, tuple[str, ...], tuple[int, ...]]) -> list[Draw]:
    world, claims, seeds = task
    return [judge(world, claims, seed) for seed in seeds]


@dataclass(frozen=True)
class Job:
    """A world and its claims: `file` holds the draws, the first line says of what."""

    world: World
    claims: tuple[str, ...]
    file: Path

    def done(self) -> dict[int, Draw]:
        """The draws that are there, by seed; a line that was cut short is left out."""
        if not self.file.exists():
            return {}
        found = {}
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                draw = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[draw["seed"]] = draw
        return found

    def add(self, draws: list[Draw]) -> None:
        """Write down some draws, on lines of their own also where the last one was cut short."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        cut = self.file.exists() and not self.file.read_bytes().endswith(b"\n")
        with self.file.open("a", encoding="utf-8") as file:
            file.write("\n" * cut)
            file.writelines(json.dumps(draw) + "\n" for draw in draws)


def job_of(case: Case, folder: Path) -> Job:
    """The job of a case; equal worlds with equal claims have one file."""
    text = repr((case.world, case.claims, RESAMPLES, _rules_hash()))
    return Job(case.world, case.claims, folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.jsonl")


_HASH: list[str] = []


def _rules_hash() -> str:
    if not _HASH:
        root = Path(judging.__file__).resolve().parents[1]
        files = sorted(p for room in ("judge", "stats", "simulate") for p in (root / room).rglob("*.py"))
        _HASH.append(hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest())
    return _HASH[0]


def run(jobs: Iterable[Job], runs: int, processes: int) -> None:
    """Make the draws that are missing."""
    distinct = {job.file: job for job in jobs}
    work: list[tuple[Job, tuple[World, tuple[str, ...], tuple[int, ...]]]] = []
    for job in distinct.values():
        there = job.done()
        seeds = [seed for seed in range(runs) if seed not in there]
        for start in range(0, len(seeds), CHUNK):
            work.append((job, (job.world, job.claims, tuple(seeds[start : start + CHUNK]))))
    if processes < 2 or len(work) < 2:
        for job, task in work:
            job.add(_chunk(task))
        return
    start = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for number, ((job, _), draws) in enumerate(
            zip(work, pool.map(_chunk, [task for _, task in work]), strict=True), start=1
        ):
            job.add(draws)
            if number % 20 == 0:
                gone = time.perf_counter() - start
                left = gone / number * (len(work) - number)
                print(
                    f"{number} of {len(work)} parts, {gone:.0f} s, {left:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )


@dataclass(frozen=True)
class Row:
    """One line of the table: shares of draws."""

    section: str
    name: str
    want: Want
    runs: int
    shares: dict[str, float]
    estimate: float
    covered: dict[str, float]
    naive: str
    mark: str


def rows_of(case: Case, draws: list[Draw]) -> list[Row]:
    """The lines of one case."""
    rows = []
    for want in case.marks:
        found = [draw[want.claim] for draw in draws if want.claim in draw]
        if not found:
            rows.append(Row(case.section, case.name, want, 0, {}, math.nan, {}, "", "no such claim"))
            continue
        shares = {v: sum(f["verdict"] == v for f in found) / len(found) for v in VERDICTS}
        crashed = sum(f["verdict"] == "crashed" for f in found) / len(found)
        shares |= {"crashed": crashed} if crashed else {}
        known = [f["estimate"] for f in found if f.get("estimate") is not None]
        t = np.array([draw["naive"] for draw in draws])
        text = f"{np.mean(t > 1.96):.2f} / {np.mean(t < -1.96):.2f}" if want.claim == "P2" else ""
        covered = _covered(case, want, draws) if want.kind == "coverage" else _says(want, found)
        mark = _mark(want, shares, covered, len(found))
        estimate = float(np.mean(known)) if known else math.nan
        rows.append(Row(case.section, case.name, want, len(found), shares, estimate, covered, text, mark))
    return rows


def _covered(case: Case, want: Want, draws: list[Draw]) -> dict[str, float]:
    """Scale -> share of intervals that hold the truth, of those that are there."""
    hits: dict[str, list[bool]] = {}
    for draw in draws:
        truth = want.true_value(case.world, draw["seed"])
        for name, forms in draw.get(want.claim, {}).get("scales", {}).items():
            form = "these" if want.these or "like" not in forms else "like"
            low, high = forms[form]
            hits.setdefault(name, []).append(low <= truth <= high)
    return {name: float(np.mean(found)) for name, found in hits.items() if name in UNITS}


def _says(want: Want, found: list[dict[str, Any]]) -> dict[str, float]:
    if want.kind != "this draw":
        return {}
    return {"says": float(np.mean([_THIS.search(f["says"]) is not None for f in found]))}


def _mark(want: Want, shares: dict[str, float], covered: dict[str, float], runs: int) -> str:
    """Whether it is as wanted, within two standard errors of the simulation."""

    if "crashed" in shares:
        return f"NOT MET: crashed in {shares['crashed']:.3f}"

    def noise(share: float) -> float:
        return 2 * math.sqrt(share * (1 - share) / runs)

    if want.kind == "coverage":
        if not covered:
            return "no interval"
        low, high = 0.93 - noise(0.93), 0.97 + noise(0.97)
        return "ok" if all(low <= share <= high for share in covered.values()) else "NOT MET"
    met = {
        "no effect": shares["supported"] <= 0.05 + noise(0.05),
        "effect": shares["refuted"] <= 0.05 + noise(0.05),
        "refuted": shares["refuted"] >= 0.8 - noise(0.8),
        "inconclusive": shares["inconclusive"] >= 0.95 - noise(0.95),
        "this draw": covered.get("says", 0.0) >= 0.95,
        "shown": True,
    }[want.kind]
    return ("ok" if met else "NOT MET") if want.kind != "shown" else ""


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table, section by section."""
    for section in dict.fromkeys(row.section for row in rows):
        yield f"\n#### {section}\n"
        yield "| world | claim | supported | refuted | inconclusive | estimate | truth | holds it | naive harder / easier | wanted | |"
        yield "|---|---|---:|---:|---:|---:|---:|---:|---|---|---|"
        last = ""
        for row in (row for row in rows if row.section == section):
            name = "" if row.name == last else row.name
            last = row.name
            yield _line(row, name)


def _line(row: Row, name: str) -> str:
    want = row.want
    shares = " | ".join(f"{row.shares[v]:.3f}" if row.shares else "" for v in VERDICTS)
    estimate = "" if math.isnan(row.estimate) else f"{row.estimate:.2f}"
    of = " (these families)" * want.these + " (this draw)" * want.once
    truth = f"{want.value:.2f}{of}" if want.kind == "coverage" else ""
    held = ", ".join(f"{name} {share:.3f}" for name, share in row.covered.items())
    wanted = WANTED[want.kind]
    return f"| {name} | {want.claim} | {shares} | {estimate} | {truth} | {held} | {row.naive} | {wanted} | {row.mark} |"


def chosen(words: str | None) -> list[Case]:
    """The cases with and without margins whose section or name holds one of the words, parted by commas.

    Raises:
        UsageError: there is none.
    """
    every = [variant for case in cases() for variant in case.variants()]
    if words is None:
        return every
    wanted = [word.strip().lower() for word in words.split(",") if word.strip()]
    found = [c for c in every if any(word in f"{c.section} {c.name}".lower() for word in wanted)]
    if not found:
        names = "; ".join(dict.fromkeys(c.section for c in every))
        raise UsageError(f"--worlds {words}: no section or name of a world holds it. Sections: {names}.")
    return found


def report(arguments: argparse.Namespace) -> tuple[str, bool]:
    """The table in markdown, and whether everything is as wanted."""
    start = time.perf_counter()
    listed = chosen(arguments.worlds)
    jobs = {case: job_of(case, arguments.folder) for case in listed}
    run(jobs.values(), arguments.runs, arguments.jobs)
    rows = []
    for case, job in jobs.items():
        draws = job.done()
        rows += rows_of(case, [draws[seed] for seed in range(arguments.runs)])
    lines = [
        f"`python benchmarks/honesty.py --runs {arguments.runs}`\n",
        f"{arguments.runs} draws of each world, {RESAMPLES} resamples; 6 families x 4 tiers x 200 items and three levels unless the world",
        "says otherwise. Shares of headline verdicts; mean estimate; share of 95 % intervals that hold the truth, by scale. Naive: share of draws",
        "in which a t test of the accuracy lost at the last level on the tier says that harder / easier tiers lose more. Marks allow for",
        "two standard errors of the simulation.",
        *table(rows),
    ]
    good = all(row.mark in ("ok", "") for row in rows)
    if arguments.worlds is None:
        for more, met in (clustered_lines(10 * arguments.runs), tail_lines(10 * arguments.runs)):
            lines += more
            good = good and met
    missed = sum(row.mark not in ("ok", "") for row in rows)
    lines.append(f"\n{missed} of {len(rows)} marks are not met. Took {time.perf_counter() - start:.0f} s.")
    return "\n".join(lines) + "\n", good


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--runs", type=int, default=None, help="draws of each world (200; with --quick 20)")
    found.add_argument(
        "--worlds", help="words, parted by commas: only worlds whose section or name holds one"
    )
    found.add_argument("--quick", action="store_true", help="20 draws, to see that it runs")
    found.add_argument("--jobs", type=int, default=2, help="processes")
    found.add_argument("--folder", type=Path, default=Path("runs/honesty"), help="where draws are kept")
    found.add_argument("--output", type=Path, help="write the table here too")
    return found


def main() -> int:
    options = parser()
    arguments = options.parse_args()
    if arguments.runs is None:
        arguments.runs = 20 if arguments.quick else 200
    if arguments.runs < 2 or arguments.jobs < 1:
        options.error("--runs must be 2 or more, and --jobs 1 or more")
    try:
        text, good = report(arguments)
    except UsageError as error:
        options.error(str(error))
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
