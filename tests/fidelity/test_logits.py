"""Token scores against the definitions, written out in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from junkdna_harness.fidelity import logits as module
from junkdna_harness.fidelity.logits import compare_logits


def random(n: int, v: int, seed: int, scale: float = 3.0, shift: float = 0.0) -> Tensor:
    return torch.randn(n, v, generator=torch.Generator().manual_seed(seed)) * scale + shift


@pytest.mark.parametrize(
    ("vocabulary", "dtype"),
    [(7, torch.float32), (1000, torch.float32), (1000, torch.bfloat16), (30_000, torch.float32)],
)
def test_scores_are_their_definitions(
    vocabulary: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 3 * vocabulary + 1)  # chunks of three tokens, the last one shorter
    n = 11
    dense, other = random(n, vocabulary, 0, shift=20.0).to(dtype), random(n, vocabulary, 1).to(dtype)
    other[:4] = dense[:4] + 0.1 * other[:4]
    targets = torch.randint(vocabulary, (n,), generator=torch.Generator().manual_seed(2))
    found = compare_logits(dense, other, targets)
    for i in range(n):
        p, q = (torch.softmax(side[i].double(), -1) for side in (dense, other))
        kl = sum(float(p[v]) * (math.log(p[v]) - math.log(q[v])) for v in range(vocabulary))
        assert float(found.kl[i]) == pytest.approx(kl, abs=2e-5)
        assert float(found.loss_dense[i]) == pytest.approx(-math.log(p[targets[i]]), abs=2e-5)
        assert float(found.loss[i]) == pytest.approx(-math.log(q[targets[i]]), abs=2e-5)
        assert float(found.acceptance[i]) == pytest.approx(float(torch.minimum(p, q).sum()), abs=1e-5)
        assert bool(found.top1[i]) == (int(dense[i].float().argmax()) == int(other[i].float().argmax()))
        best, theirs = set(found.top_dense[i].tolist()), set(found.top[i].tolist())
        k = min(5, vocabulary)
        assert sorted(dense[i].float()[list(best)].tolist()) == sorted(
            dense[i].float().topk(k).values.tolist()
        )
        assert float(found.top5[i]) == pytest.approx(len(best & theirs) / k)


def test_a_model_beside_itself_loses_nothing() -> None:
    logits, targets = random(50, 400, 0), torch.arange(50)
    found = compare_logits(logits, logits.clone(), targets)
    assert float(found.kl.abs().max()) == 0 and bool(found.top1.all()) and float(found.top5.min()) == 1
    assert torch.equal(found.loss, found.loss_dense)
    assert float(found.acceptance.max()) <= 1 and float(found.acceptance.min()) == pytest.approx(1)


def test_a_token_that_a_model_cannot_give() -> None:
    """Where the dense model has no probability nothing is added; where the other has none, the divergence is infinite."""
    dense, other = random(2, 6, 0), random(2, 6, 1)
    dense[:, 2] = -math.inf
    found = compare_logits(dense, other, torch.tensor([0, 0]))
    p, q = torch.softmax(dense[0].double(), -1), torch.softmax(other[0].double(), -1)
    kl = sum(float(p[v]) * math.log(p[v] / q[v]) for v in range(6) if v != 2)
    assert float(found.kl[0]) == pytest.approx(kl, abs=1e-5)
    assert float(compare_logits(other, dense, torch.tensor([0, 0])).kl[0]) == math.inf
    both = compare_logits(dense, dense + 1.0, torch.tensor([0, 0]))
    assert float(both.kl[0]) == pytest.approx(0, abs=1e-6)


def test_answers_that_are_no_numbers_are_refused() -> None:
    broken = random(3, 6, 0)
    broken[1, 2] = math.nan
    for pair in ((broken, random(3, 6, 1)), (random(3, 6, 1), broken)):
        with pytest.raises(FloatingPointError, match="not numbers"):
            compare_logits(*pair, torch.zeros(3, dtype=torch.long))
