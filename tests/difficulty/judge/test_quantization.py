"""P4 at equal mean loss and at equal memory: two questions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from difficulty.simulate.world import Arm, World
from tests.difficulty.judge.worlds import headline, judged, rows_of

PRUNED = Arm(share=0.4)
BASE = World(families=3, items=150)


def quantizer(
    share: float, losses: tuple[float, ...] = (0.6, 1.2), bits: tuple[float, ...] = (8.0, 6.0)
) -> Arm:
    return Arm("rtn", bits=bits, losses=losses, share=share)


def test_a_quantizer_with_the_same_law_at_less_loss_differs_at_equal_memory_alone() -> None:
    """At the same bits it loses a tenth: its slope is small because its loss is."""
    # its losses per bits: pruning at 10 bits (level .4375) has lost some .85 log-odds
    little = quantizer(0.4, (0.08, 0.15), (12.0, 10.0))
    with_loss = replace(PRUNED, levels=(0.1, 0.3, 0.5, 0.7), losses=(0.1, 0.5, 1.0, 1.5))
    world = replace(BASE, arms=(with_loss, little), items=300)
    result = judged(world, "P4", "P4 memory")
    memory, loss = result.headline()["P4 memory"], result.headline()["P4"]
    assert memory.verdict == "supported"
    assert loss.verdict != "supported"
    assert "equal effective bits" in memory.rule and "same mean loss" in loss.rule


def test_a_quantizer_that_orders_less_at_the_same_loss_is_support() -> None:
    claim = headline(replace(BASE, arms=(PRUNED, quantizer(0.0))), "P4")
    assert claim.verdict == "supported"
    assert claim.details["pruning_slope"]["ci_low"] > 0
    assert claim.estimate == pytest.approx(0.4 * 0.9, abs=0.12)


def test_a_quantizer_that_orders_more_refutes() -> None:
    assert headline(replace(BASE, arms=(PRUNED, quantizer(0.8))), "P4").verdict == "refuted"


def test_without_a_common_loss_both_ranges_are_said() -> None:
    claim = headline(replace(BASE, arms=(PRUNED, quantizer(0.0, (4.0, 5.0)))), "P4")
    assert (claim.verdict, claim.estimate) == ("inconclusive", None)
    assert "no mean loss in common over the same tiers (pruning" in claim.reason
    assert "quantization" in claim.reason


def test_without_quantized_runs_both_rows_say_how_to_get_them() -> None:
    result = judged(replace(BASE, arms=(PRUNED,)), "P4", "P4 memory")
    for claim in result.headline().values():
        assert claim.verdict == "not tested"
        assert "--quantize rtn" in claim.reason


def test_pruning_that_orders_nothing_leaves_nothing_to_compare() -> None:
    worlds = replace(BASE, arms=(Arm(share=0.0), quantizer(-0.4)))
    claim = headline(worlds, "P4")
    assert claim.verdict != "supported"
    assert "pruning itself does not order the tiers" in claim.reason


def test_every_quantizer_and_every_pruning_method_has_a_row_corrected_together() -> None:
    arms = (PRUNED, Arm("random", share=0.4), quantizer(0.0), replace(quantizer(0.0), method="gptq"))
    result = judged(replace(BASE, arms=arms), "P4")
    pooled = {c.method: c for c in rows_of(result, "P4") if c.scope.pooled}
    assert set(pooled) == {
        f"{pruned} vs {other}" for pruned in ("magnitude", "random") for other in ("rtn", "gptq")
    }
    assert sum(c.scope.headline for c in pooled.values()) == 1
    assert result.headline()["P4"].method.startswith("magnitude vs")
    for claim in pooled.values():
        assert claim.p is not None and claim.p_holm is not None
    ps = sorted((c.p or 0, c.p_holm or 0) for c in pooled.values())
    assert ps[0][1] == pytest.approx(min(1, 4 * ps[0][0]))
    assert pooled["magnitude vs gptq"].about.endswith("for this calibration")
    assert pooled["random vs rtn"].about.endswith("for this mask")


def test_the_headline_is_a_quantizer_of_weights_where_there_is_one() -> None:
    kv = replace(quantizer(0.0), method="kv")
    result = judged(replace(BASE, arms=(PRUNED, kv, quantizer(0.0))), "P4")
    assert result.headline()["P4"].method == "magnitude vs rtn"
    assert judged(replace(BASE, arms=(PRUNED, kv)), "P4").headline()["P4"].method == "magnitude vs kv"


@pytest.mark.parametrize("method", ["kv", "aint8"])
def test_what_is_not_known_to_save_memory_is_not_compared_at_equal_memory(method: str) -> None:
    """The bits of a cache are not those of weights; without a run that counts what it saves, nothing is claimed."""
    arm = replace(quantizer(0.0, (0.6, 1.2), (8.0, 4.0)), method=method)
    claim = judged(replace(BASE, arms=(PRUNED, arm)), "P4 memory").headline()["P4 memory"]
    assert (claim.verdict, claim.estimate) == ("inconclusive", None)
    assert "at no effective bits" in claim.reason
