"""How near scoring is to the matrix products of the tokens that it has to compute.

    python benchmarks/forward_limit.py [--pretrained smollm2-135m] [--rows 60] [--batch-size 8] [--repeats 3] [--profile]

The requests are ARC-Easy's, as in `prefix_cache.py`. The limit multiplies every linear layer of the model with as many tokens
as the plan's passes hold, padding left out, and the output head with as many as have a logit to give: once pass by pass,
and once in passes of 1,024 tokens, in which products are as fast as they get. Sides take turns. `--profile` lists the operators
of one scoring by their own time.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
from prefix_cache import arc, arguments, load, openbookqa

WIDE = 1024


def passes_of(prepared: list[Any]) -> list[tuple[int, int]]:
    """(tokens without padding, tokens whose logits are needed) of each forward pass."""
    found = []
    headers: Any = ()
    for batch in prepared:
        if batch.headers != headers:
            headers = batch.headers
            found.append((sum(map(len, headers)), 0))
        for part in (batch.rows, *batch.tails):
            wanted = len(set(zip(part.row.tolist(), part.kept.tolist(), strict=True)))
            found.append((int(part.lengths.sum()), wanted))
    return found


def in_wide_passes(passes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same tokens, 1,024 a pass."""
    tokens, wanted = (sum(column) for column in zip(*passes, strict=True))
    n = -(-tokens // WIDE)
    return [(len(range(i, tokens, n)), len(range(i, wanted, n))) for i in range(n)]


@torch.no_grad()
def products(model: Any, passes: list[tuple[int, int]]) -> float:
    """Seconds of the matrix products alone."""
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    most = max(tokens for tokens, _ in passes)
    inputs = {size: torch.randn(most, size) for size in {m.in_features for m in (*layers, head)}}
    started = time.perf_counter()
    for tokens, wanted in passes:
        for layer in layers:
            torch.nn.functional.linear(inputs[layer.in_features][:tokens], layer.weight)
        if wanted:
            torch.nn.functional.linear(inputs[head.in_features][:wanted], head.weight)
    return time.perf_counter() - started


def main() -> None:
    """Print one table."""
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    lm = load(given)
    from lm_eval.api.instance import Instance

    from junkdna_harness.harness.requests import tokenize
    from junkdna_harness.models.forward import prepare

    print(
        f"{given.pretrained}, fp32, batch size {given.batch_size}, {given.rows} rows, {given.repeats} repeats\n"
    )
    print("| | tokens | passes | scoring, s | products pass by pass, s | ratio | in wide passes, s | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, pairs in (("arc_easy", arc(given.rows)), ("openbookqa", openbookqa(given.rows))):
        asked = [Instance("loglikelihood", {}, pair, 0, ("task", i, 1)) for i, pair in enumerate(pairs)]
        requests = tokenize(lm, asked)
        prepared = [prepare(batch) for batch in lm.plan_scoring(requests)]
        passes = passes_of(prepared)
        products(lm.model, passes[:2])
        times: tuple[list[float], list[float], list[float]] = ([], [], [])
        for _ in range(given.repeats):
            started = time.perf_counter()
            lm.score(prepared, requests, disable_tqdm=True)
            times[0].append(time.perf_counter() - started)
            times[1].append(products(lm.model, passes))
            times[2].append(products(lm.model, in_wide_passes(passes)))
        cells = [
            f"| {name} | {sum(tokens for tokens, _ in passes):,} | {len(passes)} | {median(times[0]):.2f} "
        ]
        for limit in times[1:]:
            ratios = sorted(a / b for a, b in zip(times[0], limit, strict=True))
            cells.append(
                f"| {median(limit):.2f} | {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
            )
        print("".join(cells) + "|", flush=True)
        if given.profile:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                lm.score(prepared, requests, disable_tqdm=True)
            print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))


if __name__ == "__main__":
    main()
