"""The gate on a text: bounds in closed form, error rates by simulation, and files that it cannot judge."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from difficulty.errors import UsageError
from junkdna_harness.gate.fidelity import KIND, TextLimits, check_text, read_fidelity
from tests.commands import junkdna


def comparison(
    ratio: float = 1.1, kl: float = 0.05, same: float = 0.9, blocks: int = 40, seed: int = 0
) -> dict[str, Any]:
    """Sums of blocks of 200 to 256 tokens that differ in how much is lost, around these figures."""
    draw = np.random.default_rng(seed)
    n = draw.integers(200, 257, blocks).astype(float)
    dense = n * draw.normal(3.0, 0.3, blocks)
    values = {
        "n": n, "loss_dense": dense, "loss": dense + n * draw.normal(math.log(ratio), 0.03, blocks),
        "kl": n * draw.gamma(20.0, kl / 20, blocks), "top1": draw.binomial(n.astype(int), draw.beta(200 * same, 200 * (1 - same), blocks)),
    }  # fmt: skip
    return {
        "kind": KIND,
        "model": "m",
        "against": "d",
        "blocks": {k: v.astype(float).tolist() for k, v in values.items()},
    }


def test_bounds_are_those_of_the_ratio_of_sums() -> None:
    found = comparison()
    blocks = {name: np.asarray(values) for name, values in found["blocks"].items()}
    n, g = blocks["n"], 40
    (one,) = check_text(found, TextLimits(max_perplexity_ratio=1.2)).comparisons
    difference = blocks["loss"] - blocks["loss_dense"]
    rate = difference.sum() / n.sum()
    error = math.sqrt(g / (g - 1) * ((difference - n * rate) ** 2).sum()) / n.sum()
    half = stats.t.ppf(0.95, g - 1) * error
    assert one.value == pytest.approx(math.exp(rate))
    assert (one.low, one.high) == (pytest.approx(math.exp(rate - half)), pytest.approx(math.exp(rate + half)))


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        ({"max_perplexity_ratio": 1.2}, "pass"),
        ({"max_perplexity_ratio": 1.05}, "fail"),
        ({"max_perplexity_ratio": 1.1}, "inconclusive"),
        ({"max_kl": 0.06}, "pass"),
        ({"max_kl": 0.04}, "fail"),
        ({"min_agreement": 0.85}, "pass"),
        ({"min_agreement": 0.95}, "fail"),
        ({"max_kl": 0.06, "min_agreement": 0.85, "max_perplexity_ratio": 1.2}, "pass"),
        ({"max_kl": 0.06, "min_agreement": 0.95, "max_perplexity_ratio": 1.2}, "fail"),
        ({"max_kl": 0.06, "max_perplexity_ratio": 1.1}, "inconclusive"),
    ],
)
def test_a_limit_is_kept_broken_or_not_known(limits: dict[str, float], verdict: str) -> None:
    assert check_text(comparison(), TextLimits(**limits)).verdict == verdict


def test_at_the_limit_at_most_alpha_pass_and_at_most_alpha_fail() -> None:
    """2,000 texts whose expected figures are all at their limits: passes and fails stay at 5 % each, within two standard errors."""
    draws = [
        check_text(comparison(1.1, 0.05, 0.9, 30, seed), TextLimits(1.1, 0.05, 0.9)).verdict
        for seed in range(2000)
    ]
    most = 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2000)
    assert draws.count("pass") / 2000 <= most
    assert draws.count("fail") / 2000 <= most
    alone = [
        check_text(comparison(1.1, 0.05, 0.9, 30, seed), TextLimits(1.1)).verdict for seed in range(2000)
    ]
    assert 0.02 <= alone.count("pass") / 2000 <= most and 0.02 <= alone.count("fail") / 2000 <= most


def test_one_block_decides_nothing() -> None:
    gate = check_text(comparison(blocks=1), TextLimits(1.5, 1.0, 0.1))
    assert gate.verdict == "inconclusive"
    json.dumps(gate.to_dict(), allow_nan=False)


def test_what_has_no_bound_fails(tmp_path: Path) -> None:
    """A model that gives no probability to a token that the dense one expects: JSON has null there."""
    found = comparison()
    found["blocks"]["kl"][3] = None
    (tmp_path / "f.json").write_text(json.dumps(found))
    gate = check_text(read_fidelity(tmp_path / "f.json"), TextLimits(max_kl=10.0, min_agreement=0.5))
    assert {one.name: one.verdict for one in gate.comparisons} == {
        "kl_mean": "fail",
        "top1_agreement": "pass",
    }
    json.dumps(gate.to_dict(), allow_nan=False)


def test_a_model_beside_itself_passes() -> None:
    found = comparison()
    found["blocks"]["loss"] = found["blocks"]["loss_dense"]
    found["blocks"]["kl"] = [0.0] * 40
    found["blocks"]["top1"] = found["blocks"]["n"]
    assert check_text(found, TextLimits(1.001, 0.001, 0.9)).verdict == "pass"
    assert (
        check_text(found, TextLimits(min_agreement=0.99)).verdict == "inconclusive"
    )  # 40 blocks alike do not show it


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not whole JSON"),
        ("{}", "is no file of junkdna fidelity"),
        ("[]", "is no file of junkdna fidelity"),
        (json.dumps({"kind": KIND, "model": "m"}), "is damaged"),
        (json.dumps({"kind": KIND, "model": "m", "blocks": {"n": [1], "loss_dense": [1], "loss": [1, 2], "kl": [1], "top1": [1]}}), "is damaged"),
        (json.dumps({"kind": KIND, "model": "m", "blocks": {"n": [0], "loss_dense": [1], "loss": [2], "kl": [1], "top1": [1]}}), "is damaged"),
        (json.dumps({"runs": [comparison(), {**comparison(), "model": "other"}]}), "there are several runs. Give --run, one of m, other"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_judged(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(UsageError, match=told):
        read_fidelity(tmp_path / "f.json")


@pytest.mark.parametrize(
    "limits",
    [
        {"max_kl": 0.0},
        {"max_kl": -1.0},
        {"min_agreement": 1.1},
        {"max_perplexity_ratio": math.nan},
        {"max_kl": math.inf},
    ],
)
def test_limits_that_are_none(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="is no limit"):
        TextLimits(**limits)


def test_the_command_from_the_measurement_to_the_exit_code(tmp_path: Path) -> None:
    done = junkdna(
        "fidelity",
        "--methods",
        "magnitude",
        "--sparsity",
        "0.1,0.7",
        "--text",
        "embedded",
        "--limit",
        "3000",
        "--json",
        "f.json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-400:]
    ok = junkdna(
        "check",
        "f.json",
        "--run",
        "embedded magnitude 0.1",
        "--max-kl",
        "0.1",
        "--min-agreement",
        "0.8",
        cwd=tmp_path,
    )
    assert ok.returncode == 0 and "PASS" in ok.stdout, ok.stdout + ok.stderr
    bad = junkdna(
        "check", "f.json", "--run", "embedded magnitude 0.7", "--max-kl", "0.1", "--json", "-", cwd=tmp_path
    )
    assert bad.returncode == 1 and json.loads(bad.stdout)["verdict"] == "fail"
    for arguments, told in (
        (("--max-kl", "0.1"), "there are several runs"),
        (("--max-kl", "0.1", "--max-drop", "0.1"), "--max-drop is of runs that were evaluated on tasks"),
        (("--run", "x", "--max-kl", "0.1"), "there is no run 'x'"),
    ):
        refused = junkdna("check", "f.json", *arguments, cwd=tmp_path)
        assert refused.returncode == 2 and told in refused.stderr, refused.stderr[-300:]
