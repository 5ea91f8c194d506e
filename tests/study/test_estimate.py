"""What a study would cost: the formulas against hand counts and published figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from junkdna_harness.embedded import model_path
from junkdna_harness.models import token_scores
from junkdna_harness.models.prefix_plan import build_batches, build_rows
from junkdna_harness.study.dry_run import describe, padded_length, scored_tokens, shape_of, table
from junkdna_harness.study.estimate import (
    LLAMA_7B,
    LLAMA_70B,
    Shape,
    Speed,
    Work,
    calibration_flops,
    checks,
    cost,
    count_work,
    gpu_hours,
    measure_speed,
)
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.texts.windows import Window


def test_the_shapes_have_the_published_numbers_of_weights() -> None:
    assert LLAMA_7B.parameters == pytest.approx(6.738e9, rel=1e-3)
    assert LLAMA_70B.parameters == pytest.approx(68.98e9, rel=1e-3)


def test_published_costs_are_met_within_a_factor_of_two() -> None:
    assert len(checks()) >= 3
    for check in checks():
        assert 0.5 < check.ratio < 2, check


def test_costs_by_hand() -> None:
    shape = Shape("square", 1000.0, 2, ((10, 20),))
    work = Work(
        runs=3,
        tokens_a_run=100,
        calibrated={"sparsegpt": 1, "wanda": 2},
        calibration_tokens=50,
        trainings=4,
        training_tokens=70,
    )
    passes, solving = 4 * 400 * 50, 2 * (2 * 20 * 20 * 50 + 20**3 + 10 * 20 * 20)
    assert calibration_flops("sparsegpt", shape, 50) == (passes, solving)
    assert calibration_flops("wanda", shape, 50) == (passes, 0)
    found = cost(work, shape, Speed(1.0, forward=2e-9, training=6e-9, where="here"))
    assert found.flops == {
        "evaluation": 600_000,
        "calibration": 3 * passes + solving,
        "training": 6 * 1000 * 70,
    }
    assert found.hours_here == pytest.approx(sum(found.flops.values()) / 1e9 / 3600)
    assert found.gpu_hours == pytest.approx(gpu_hours(sum(found.flops.values()) - solving, solving))
    assert found.training_bytes == 16 * 1000 + 400
    assert found.adapter_bytes == 4 * 1000 + 400  # float32, and a byte of mask for each targeted weight


def test_work_is_counted_from_the_plan() -> None:
    plan = StudyPlan(
        methods=("magnitude", "wanda"),
        sparsity="0,0.5",
        patterns="4:8",
        quantize="rtn:4",
        nsamples=2,
        seqlen=8,
        steps=(10,),
        batch_size=3,
    )
    work = count_work(plan, 1000, 20.0, 64)
    assert work.calibrated == {"wanda": 2}
    assert work.runs == 1 + 2 * 2 + 1 + 4
    assert (work.calibration_tokens, work.trainings, work.training_tokens) == (16, 4, 4 * 600)
    assert (work.text_runs, work.tokens_a_text_run) == (0, 0)
    asked = replace(plan, text=("starter",), text_sparsity="0,0.2,0.3", controls=())
    texts = count_work(asked, 1000, 20.0, 64, 500)
    assert (texts.text_runs, texts.tokens_a_text_run) == (1 + 2 * 2 + 1, 500)  # levels of each method, rtn:4
    shape, speed = Shape("square", 1000.0, 2, ((10, 20),)), Speed(1.0, 1e-9, 3e-9, "here")
    more = cost(texts, shape, speed).flops["evaluation"] - cost(work, shape, speed).flops["evaluation"]
    assert more == 2 * 1000 * 6 * 500


def test_tokens_of_a_text_are_those_of_all_windows_that_hold_an_asked_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def window(document: int, start: int) -> Window:
        return Window(np.arange(8), 4, np.arange(4), document, start)

    text = SimpleNamespace(windows=[window(0, 0), window(0, 4), window(1, 0)])
    monkeypatch.setattr(token_scores, "known", lambda name: text)
    asked = [SimpleNamespace(args=(f"t:{document}:{place}",)) for document, place in ((0, 5), (0, 7), (1, 0))]
    assert token_scores.tokens_seen(asked) == 16 and token_scores.tokens_seen([]) == 0


def test_a_context_that_options_share_is_counted_once() -> None:
    """A context of 30 tokens: 30 and one tail of one token for each of 3 options of two tokens, or 3 x 31 in passes of their own."""
    pairs = [(tuple(range(30)), (40 + option, 50)) for option in range(3)]
    for shared, expected in ((True, 30 + 3), (False, 3 * 31)):
        rows = build_rows(pairs, lambda length, shared=shared: shared)  # type: ignore[misc]
        assert scored_tokens(build_batches(rows, lambda rows, position: 8, headers=False)) == expected


def test_padding_is_computed_too_so_it_is_counted() -> None:
    assert padded_length([4, 2, 1, 3, 5], batch_size=2) == pytest.approx((2 * 4 + 2 * 3 + 5) / 5)


def test_the_plan_and_the_costs_are_told_in_words() -> None:
    told = "\n".join(describe(StudyPlan()))
    assert "70 runs" in told
    assert "magnitude+sparse_transfer at 0.5" in told
    speed = Speed(1.0, 1e-9, 3e-9, "here")
    costs = [cost(Work(1, 1, {}, 1, 1, 1), shape, speed) for shape in (LLAMA_7B, LLAMA_70B)]
    assert "114 GB (2 GPUs)" in table(costs)


def test_the_shape_of_a_loaded_model(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_path())
    shape = shape_of(model, "embedded")
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert shape.targeted == sum(p.numel() for n, p in model.named_parameters() if "proj" in n)


def test_speed_is_of_the_numbers_that_evaluation_computes_in_and_of_those_that_trainings_do() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_path())
    inside: list[bool] = []
    seen: set[tuple[bool, bool]] = set()

    @contextmanager
    def computing() -> Iterator[None]:
        inside.append(True)
        yield
        inside.clear()

    model.register_forward_hook(lambda *_: seen.add((bool(inside), torch.is_grad_enabled())))
    measure_speed(model, rows=2, length=8, repeats=1, computing=computing)
    assert seen == {(True, False), (False, True)}
