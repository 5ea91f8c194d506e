"""One model's answers for tokens, against softmax in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from junkdna_harness.texts import scoring
from junkdna_harness.texts.scoring import answers, batches, score_windows
from junkdna_harness.texts.windows import Window


def random(n: int, v: int, seed: int) -> Tensor:
    return torch.randn(n, v, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_margins_and_losses_are_their_definitions(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 200)  # chunks of two tokens, the last one shorter
    logits = random(9, 80, 0).to(dtype)
    targets = torch.cat([logits[:4].float().argmax(-1), torch.arange(5)])
    margin, loss = answers(logits, targets)
    for i in range(9):
        p = torch.softmax(logits[i].double(), -1)
        others = [math.log(p[v]) for v in range(80) if v != int(targets[i])]
        own = math.log(p[targets[i]])
        assert float(margin[i]) == pytest.approx(own - max(others), abs=1e-5)
        assert float(loss[i]) == pytest.approx(-own, abs=1e-5)
    assert (margin[:4] >= 0).all()


def test_a_token_that_is_as_likely_as_the_target() -> None:
    logits = torch.tensor([[1.0, 1.0, 0.0]])
    assert float(answers(logits, torch.tensor([0]))[0]) == 0 == float(answers(logits, torch.tensor([1]))[0])


def test_tokens_that_cannot_be() -> None:
    logits = torch.tensor([[0.0, -math.inf, -math.inf], [math.nan, 0.0, 0.0]])
    margin, loss = answers(logits[:1], torch.tensor([1]))
    assert float(margin[0]) == -math.inf and float(loss[0]) == math.inf
    with pytest.raises(FloatingPointError, match="not numbers"):
        answers(logits[1:], torch.tensor([1]))


def window(n: int, first: int, targets: int, start: int = 0) -> Window:
    return Window(np.arange(n), first, np.arange(targets), 0, start)


def test_windows_of_one_shape_go_together_and_answers_keep_their_order() -> None:
    windows = [
        window(5, 0, 5, 0),
        window(5, 0, 5, 5),
        window(5, 0, 5, 10),
        window(5, 3, 2, 15),
        window(3, 0, 3, 0),
    ]
    assert [len(batch) for batch in batches(windows, 2)] == [2, 1, 1, 1]

    def logits(inputs: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(inputs, 7).float()  # the likeliest next token is this one

    told: list[int] = []
    found = score_windows(logits, windows, 2, told.append)
    assert found.right.tolist() == [*[True] * 5] * 3 + [False, False] + [True] * 3
    assert found.margin[0] == pytest.approx(1.0) and sum(told) == 20 == len(found.loss)
