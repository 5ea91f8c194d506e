"""Figures of a table of tokens: closed forms, and parts that make up the whole."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from junkdna_harness.fidelity.figures import bits_per_byte, figures, partitions


def table(n: int = 600, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    dense = draw.exponential(2.0, n)
    kl = draw.exponential(0.1, n)
    blocks = np.arange(n) // 40
    return pd.DataFrame(
        {
            "document": blocks // 5, "source": np.array(["a", "b", "c"])[blocks // 5], "place": np.arange(n) % 200,
            "token": draw.integers(0, 30, n), "context": draw.integers(1, 500, n), "n_bytes": draw.integers(1, 6, n), "block": blocks,
            "loss_dense": dense, "loss": dense + draw.normal(0.1, 0.3, n) + 0.2 * (blocks % 3), "kl": kl,
            "top1": draw.random(n) < 0.8, "top5": draw.integers(0, 6, n) / 5, "acceptance": draw.random(n),
        }
    )  # fmt: skip


def test_means_and_their_intervals_are_the_cluster_robust_ones() -> None:
    tokens = table()
    found = figures(tokens)
    difference = (tokens["loss"] - tokens["loss_dense"]).to_numpy()
    sums = pd.Series(difference - difference.mean()).groupby(tokens["block"]).sum().to_numpy()
    g = len(sums)
    error = math.sqrt(g / (g - 1) * (sums**2).sum()) / len(tokens)
    half = stats.t.ppf(0.975, g - 1) * error
    assert found["perplexity_ratio"] == pytest.approx(math.exp(difference.mean()))
    assert found["perplexity_ratio_low"] == pytest.approx(math.exp(difference.mean() - half))
    assert found["perplexity_ratio_high"] == pytest.approx(math.exp(difference.mean() + half))
    assert found["perplexity_ratio"] == pytest.approx(found["perplexity"] / found["perplexity_dense"])
    assert found["perplexity"] == pytest.approx(math.exp(tokens["loss"].mean()))
    assert (found["n_tokens"], found["n_blocks"]) == (600, 15)


def test_quantiles_and_shares() -> None:
    tokens = table()
    found = figures(tokens)
    kl = np.sort(tokens["kl"])
    assert found["kl_mean"] == pytest.approx(kl.mean()) and found["kl_max"] == kl[-1]
    at = 0.9 * 599
    assert found["kl_90"] == pytest.approx(kl[int(at)] + (at - int(at)) * (kl[int(at) + 1] - kl[int(at)]))
    assert found["kl_median"] == pytest.approx(np.median(kl))
    delta = np.exp(-tokens["loss"]) - np.exp(-tokens["loss_dense"])
    assert found["delta_p_mean"] == pytest.approx(delta.mean())
    assert found["delta_p_rms"] == pytest.approx(math.sqrt((delta**2).mean()))
    assert found["top1_agreement"] == pytest.approx(tokens["top1"].mean())
    assert found["log_perplexity_correlation"] == pytest.approx(
        stats.pearsonr(tokens["loss"], tokens["loss_dense"])[0]
    )


def test_nothing_changed() -> None:
    tokens = table().assign(kl=0.0, top1=True, top5=1.0, acceptance=1.0)
    tokens["loss"] = tokens["loss_dense"]
    found = figures(tokens)
    assert found["perplexity_ratio"] == found["perplexity_ratio_low"] == found["perplexity_ratio_high"] == 1
    assert found["kl_mean"] == found["kl_mean_low"] == found["kl_mean_high"] == found["kl_max"] == 0
    assert found["top1_agreement"] == 1 and found["top1_agreement_low"] < 1


def test_a_mean_divergence_is_never_below_nothing() -> None:
    tokens = table(200)
    tokens["kl"] = np.where(tokens["block"] == 0, 5.0, 0.0)
    assert figures(tokens)["kl_mean_low"] == 0


def test_one_block_has_no_interval() -> None:
    found = figures(table(30))
    assert found["perplexity_ratio_low"] is None and found["kl_mean_high"] is None


@pytest.mark.parametrize("name", ["by_context", "by_frequency", "by_source"])
def test_parts_make_up_the_whole(name: str) -> None:
    tokens = table()
    counts = tokens["token"].value_counts().to_dict()
    parts = partitions(tokens, counts)[name]
    whole = figures(tokens)
    assert len(parts) > 1 and sum(part["n_tokens"] for part in parts) == 600
    for key, expected in (
        ("kl_mean", whole["kl_mean"]), ("top1_agreement", whole["top1_agreement"]),
        ("loss", math.log(whole["perplexity"])), ("loss_dense", math.log(whole["perplexity_dense"])),
    ):  # fmt: skip
        assert sum(part[key] * part["n_tokens"] for part in parts) / 600 == pytest.approx(expected)


def test_parts_are_what_they_are_called() -> None:
    tokens = table()
    counts = {token: (1 if token == 3 else 4 if token < 10 else 30) for token in range(30)}
    found = {part["part"]: part["n_tokens"] for part in partitions(tokens, counts)["by_frequency"]}
    assert found == {
        "1": (tokens["token"] == 3).sum(), "2-4": ((tokens["token"] < 10) & (tokens["token"] != 3)).sum(),
        "20-99": (tokens["token"] >= 10).sum(),
    }  # fmt: skip
    contexts = {part["part"]: part["n_tokens"] for part in partitions(tokens, counts)["by_context"]}
    assert (
        contexts["1-15"] == (tokens["context"] < 16).sum()
        and contexts["256-1023"] == (tokens["context"] >= 256).sum()
    )


def test_bits_per_byte_are_unknown_where_a_tokens_bytes_are() -> None:
    tokens = table()
    found = bits_per_byte(tokens)
    assert found["bits_per_byte"] == pytest.approx(
        tokens["loss"].sum() / math.log(2) / tokens["n_bytes"].sum()
    )
    tokens.loc[3, "n_bytes"] = -1
    assert bits_per_byte(tokens) == {"n_bytes": None, "bits_per_byte_dense": None, "bits_per_byte": None}
