"""From a table of tokens to the figures of a text: what is averaged, over what, and how sure it is.

Intervals are of 95 %, cluster-robust over blocks of 256 tokens (`difficulty.stats.mean`): tokens of a block are not independent. They
are wider than those of llama.cpp, which takes tokens to be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from difficulty.stats.mean import mean_interval

SCHEMA = 1
KL_SHARES = {"median": 0.5, "90": 0.9, "95": 0.95, "99": 0.99, "99_9": 0.999}
DELTA_SHARES = {
    "0_1": 0.001,
    "1": 0.01,
    "5": 0.05,
    "25": 0.25,
    "median": 0.5,
    "75": 0.75,
    "95": 0.95,
    "99": 0.99,
    "99_9": 0.999,
}
CONTEXTS = (16, 64, 256, 1024, 4096)  # tokens of context at which the parts of `by_context` begin
COUNTS = (2, 5, 20, 100)  # occurrences in the text at which the parts of `by_frequency` begin
LEAST = {"kl_mean": 0.0}  # below which no mean can be
SHARES = ("top1_agreement", "top5_agreement", "acceptance")  # between 0 and 1
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bounded:
    """A figure with the ends of its interval."""

    value: float
    low: float
    high: float


def figures(tokens: pd.DataFrame) -> dict[str, Any]:
    """All figures of the tokens, flat, ready for JSON; with interval: NAME, NAME_low, NAME_high (None where it has no end).

    perplexity_dense, perplexity: exp of the mean loss. perplexity_ratio: their ratio, exp of the mean of loss - loss_dense, paired by token.
    log_perplexity_correlation: of loss and loss_dense over tokens. bits_per_byte(_dense): bits of loss for each byte of the text; None
    where the tokenizer does not say which bytes a token is. kl_mean, and quantiles of KL(dense || this) (`np.quantile`, linear as
    llama.cpp's). top1_agreement, top5_agreement: see `fidelity.logits`. delta_p: probability of the text's token here less in the dense
    model: mean, root mean square, quantiles. acceptance: see `fidelity.logits`.
    """
    clusters = tokens["block"].to_numpy()
    dense, loss = tokens["loss_dense"].to_numpy(), tokens["loss"].to_numpy()
    kl = tokens["kl"].to_numpy()
    delta = np.exp(-loss) - np.exp(-dense)
    found: dict[str, Any] = {"n_tokens": len(tokens), "n_blocks": len(np.unique(clusters))}
    for name, values, scale in (
        ("perplexity_dense", dense, "perplexity"), ("perplexity", loss, "perplexity"),
        ("perplexity_ratio", loss - dense, "perplexity"), ("kl_mean", kl, "mean"),
        ("top1_agreement", tokens["top1"].to_numpy(float), "mean"), ("top5_agreement", tokens["top5"].to_numpy(), "mean"),
        ("acceptance", tokens["acceptance"].to_numpy(), "mean"), ("delta_p_mean", delta, "mean"),
    ):  # fmt: skip
        found |= _flat(
            name,
            interval(values, clusters, scale, None if name in SHARES else False, LEAST.get(name, -math.inf)),
        )
    found["log_perplexity_correlation"] = _correlation(dense, loss)
    found |= {f"kl_{name}": float(np.quantile(kl, share)) for name, share in KL_SHARES.items()}
    found["kl_max"] = float(kl.max())
    found["delta_p_rms"] = float(np.sqrt(np.mean(delta**2)))
    found |= {f"delta_p_{name}": float(np.quantile(delta, share)) for name, share in DELTA_SHARES.items()}
    return {**found, **bits_per_byte(tokens)}


def interval(
    values: Floats, clusters: NDArray[Any], scale: Any = "mean", bounded: bool | None = None, least: float = -math.inf
) -> Bounded:  # fmt: skip
    """The mean of `values` on its scale, with its interval; infinite ends where there is one block alone.

    `least`: below which no mean can be.
    """
    found = mean_interval(values, clusters, scale=scale, bounded=bounded)
    # On the scale of perplexity the lower end would be exp(-inf), which looks like a number.
    if found.n_clusters < 2:
        return Bounded(found.mean, -math.inf, math.inf)
    low = max(found.low, least) if math.isfinite(found.low) else found.low
    return Bounded(found.mean, low, found.high)


def bits_per_byte(tokens: pd.DataFrame) -> dict[str, Any]:
    """Bits of loss for each byte of the text, of both models; None where the bytes are not known."""
    sizes = tokens["n_bytes"].to_numpy()
    known = bool((sizes >= 0).all()) and bool(sizes.sum() > 0)
    total = float(sizes.sum()) * math.log(2)
    return {
        "n_bytes": int(sizes.sum()) if known else None,
        "bits_per_byte_dense": float(tokens["loss_dense"].sum()) / total if known else None,
        "bits_per_byte": float(tokens["loss"].sum()) / total if known else None,
    }


def block_sums(tokens: pd.DataFrame) -> dict[str, list[float]]:
    """Sums over the tokens of each block: their number, losses, KL, and agreements; what bounds of any width are made of."""
    sums = tokens.groupby("block")[["loss_dense", "loss", "kl", "top1"]].sum()
    counts = tokens.groupby("block").size()
    return {"n": counts.astype(float).tolist(), **{name: sums[name].astype(float).tolist() for name in sums}}


def partitions(tokens: pd.DataFrame, counts: Mapping[int, int]) -> dict[str, list[dict[str, Any]]]:
    """The tokens in parts: by context, by how often the token occurs in the texts (`counts`), and by source.

    Every token is in one part of each; the whole is the mean of the parts, weighted by n_tokens.
    """
    often = tokens["token"].map(counts).to_numpy()
    sources = tokens["source"].to_numpy()
    by_source = [(name, sources == name) for name in dict.fromkeys(sources)]
    return {
        "by_context": _parts(tokens, _ranges(tokens["context"].to_numpy(), CONTEXTS)),
        "by_frequency": _parts(tokens, _ranges(often, COUNTS)),
        "by_source": _parts(tokens, by_source),
    }


def _ranges(values: NDArray[Any], begins: tuple[int, ...]) -> list[tuple[str, NDArray[np.bool_]]]:
    found = []
    for low, high in zip((1, *begins), (*begins, None), strict=True):
        inside = (values >= low) & (True if high is None else values < high)
        name = f"{low}+" if high is None else str(low) if high == low + 1 else f"{low}-{high - 1}"
        if inside.any():
            found.append((name, np.asarray(inside)))
    return found


def _parts(tokens: pd.DataFrame, masks: list[tuple[str, NDArray[np.bool_]]]) -> list[dict[str, Any]]:
    found = []
    for name, mask in masks:
        part = tokens[mask]
        clusters = part["block"].to_numpy()
        row: dict[str, Any] = {"part": name, "n_tokens": len(part)}
        ratio = (part["loss"] - part["loss_dense"]).to_numpy()
        row |= {"loss_dense": float(part["loss_dense"].mean()), "loss": float(part["loss"].mean())}
        row |= _flat("perplexity_ratio", interval(ratio, clusters, "perplexity", bounded=False))
        row |= _flat("kl_mean", interval(part["kl"].to_numpy(), clusters, bounded=False, least=0.0))
        row |= _flat("top1_agreement", interval(part["top1"].to_numpy(float), clusters))
        found.append(row)
    return found


def finite(value: Any) -> Any:
    """`value` with None in the place of every number that is infinite or none, in dictionaries and lists too."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(name: str, value: Bounded) -> dict[str, float | None]:
    return {
        name: value.value,
        f"{name}_low": value.low if math.isfinite(value.low) else None,
        f"{name}_high": value.high if math.isfinite(value.high) else None,
    }


def _correlation(a: Floats, b: Floats) -> float | None:
    """Pearson's; None where one of them does not vary."""
    if len(a) < 2 or not (a.std() > 0 and b.std() > 0):
        return None
    return float(np.corrcoef(a, b)[0, 1])
