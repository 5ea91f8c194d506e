"""Whatever prune and quantize can be asked for is a run that is written and read back unchanged, at the measured level."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from difficulty.runs.checkpoint import of_block
from difficulty.runs.identity import Run
from difficulty.runs.level import TOLERANCE
from junkdna_harness.compress import PruneSpec, QuantSpec, prune, quantize
from junkdna_harness.compress.notation import BITS
from tests.models_factory import make_model

widths = st.sampled_from([None, *BITS])
patterns = st.sampled_from(["1:2", "1:4", "2:4", "3:4", "1:8", "4:8", "7:8"])
levels = st.floats(0, 0.99)
methods = st.sampled_from(["magnitude", "largest", "random"])
specs = st.one_of(
    st.builds(PruneSpec, method=methods, sparsity=levels, bits=widths),
    st.builds(PruneSpec, method=methods, pattern=patterns, bits=widths),
    st.builds(PruneSpec, method=st.just("none"), bits=widths),
    st.builds(QuantSpec, bits=st.sampled_from(BITS), symmetric=st.booleans()),
)


@cache
def model() -> Any:
    return make_model("llama")[0]


@settings(max_examples=60, deadline=None)
@given(specs)
def test_a_report_is_a_run_that_reads_back(spec: PruneSpec | QuantSpec) -> None:
    changed = copy.deepcopy(model())
    report = prune(changed, spec) if isinstance(spec, PruneSpec) else quantize(changed, spec)
    method, level, bits, _ = of_block(report.to_dict())
    run = Run("m", method, level, bits)
    assert Run.parse(str(run)) == run
    assert bits == spec.bits
    if isinstance(spec, QuantSpec):
        assert (run.kind, run.level) == ("quantized", None)
    elif spec.method == "none" or (spec.sparsity == 0 and spec.bits is None):
        assert run.kind == ("dense" if bits is None else "pruned")
    else:
        # zeros that rounding made are codes like any other
        measured = report.sparsity_targeted if bits is None else (spec.what.level if spec.what else None)
        assert run.level is not None and measured is not None
        assert abs(run.level - measured) <= TOLERANCE + 1e-9
        assert method.pattern == spec.pattern
