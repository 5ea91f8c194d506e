"""Which share of each decoder block goes, so that the whole loses exactly what was asked for.

* `owl` (Yin et al. 2023, arXiv 2310.05175): blocks with more outliers among |w| x norm of the input feature lose less. As in the
  authors' code the shares span 2 x 0.08 around what was asked for.
* `alphapruning` (Lu et al. 2024, arXiv 2410.10912): blocks whose spectra have heavier tails (a smaller exponent) lose less.

An allocation is a function from what is known of the blocks to a number for each, in proportion to which they lose weights. One
of your own is named `module:function`:

def deeper_more(blocks, sparsity):
    return [1 + block.index / len(blocks) for block in blocks]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from difficulty.errors import UsageError
from difficulty.own_code import own_function
from junkdna_harness.compress.notation import ALLOCATIONS, UNIFORM, Sparsity

LAMBDA = 0.08  # OWL's for the LLaMA models: half of what the shares span
OUTLIER = 5  # OWL's M: an outlier is that many times as large as the block's mean
EPSILON = 0.3  # AlphaPruning's: shares lie in proportion between 1 - 0.3 and 1 + 0.3


@dataclass(frozen=True)
class Block:
    """What is known of a decoder block: its `index`, and the number of its targeted `weights`.

    `outliers` is the share of them whose |w| x norm of the input feature is above 5 times the block's mean (None: no text was seen).
    `tail` is the mean exponent of its matrices' spectra, by Hill's estimator (None: not asked for).
    """

    index: int
    weights: int
    outliers: float | None = None
    tail: float | None = None


Allocation = Callable[[Sequence[Block], float], Sequence[float]]


def owl(blocks: Sequence[Block], sparsity: float) -> list[float]:
    """A sparsity for each block, 0.16 between the most and the fewest outliers; their mean, by weights, is `sparsity`."""
    ratios = _stretched([block.outliers or 0.0 for block in blocks], 0, 2 * LAMBDA)
    total = sum(block.weights for block in blocks)
    mean = sum(ratio * block.weights for ratio, block in zip(ratios, blocks, strict=True)) / total
    return [max(0.0, sparsity + mean - ratio) for ratio in ratios]


def alphapruning(blocks: Sequence[Block], sparsity: float) -> list[float]:
    """A number for each block, from 0.7 for the heaviest tail to 1.3 for the lightest."""
    return _stretched([block.tail or 0.0 for block in blocks], 1 - EPSILON, 1 + EPSILON)


def find_allocation(name: str) -> Allocation:
    """The function that `name` names.

    Raises:
        UsageError: a function of a user's own that cannot be imported, or takes other arguments.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    return own_function(name, "allocation", ("blocks", "sparsity"))


def needs_text(name: str, given: str | None) -> bool:
    """True where calibration text is read for the allocation alone: for OWL, and for a user's function where text is `given`."""
    return name == "owl" or (name not in (UNIFORM, *ALLOCATIONS) and given is not None)


def counts(name: str, blocks: Sequence[Block], sparsity: float) -> list[int]:
    """How many weights of each block go: in the proportions of the allocation `name`, together exactly what `sparsity` asks for.

    A block loses all but one of its weights at most; what it cannot lose, the others lose in the same proportions.

    Raises:
        UsageError: the allocation gave something else than one finite number of at least 0 for each block, or too many zeros.
    """
    given = _checked(name, find_allocation(name)(blocks, sparsity), len(blocks))
    total = Sparsity(sparsity).removed(sum(block.weights for block in blocks))
    wanted = [number * block.weights for number, block in zip(given, blocks, strict=True)]
    most = [block.weights - 1 for block in blocks]
    full: set[int] = set()
    while True:
        free = [i for i in range(len(blocks)) if i not in full]
        left = total - sum(most[i] for i in full)
        sum_free = sum((wanted[i] for i in free), Fraction(0))
        if left > 0 and not sum_free:
            raise UsageError(
                f"allocation={name} leaves too many blocks whole to remove {sparsity:g} of all weights. Give fewer zeros, or a lower sparsity."
            )
        scale = Fraction(left) / sum_free if sum_free else Fraction(0)
        over = {i for i in free if wanted[i] * scale > most[i]}
        if not over:
            break
        full |= over
    exact = [Fraction(most[i]) if i in full else wanted[i] * scale for i in range(len(blocks))]
    return _rounded(exact, total)


def _checked(name: str, given: object, number: int) -> list[Fraction]:
    try:
        values = [float(value) for value in given]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        values = []
    if len(values) != number or not all(math.isfinite(value) and value >= 0 for value in values):
        raise UsageError(
            f"allocation={name} gave {given!r:.200} for {number} blocks. Return one finite number of at least 0 for each: blocks lose "
            "weights in proportion to them."
        )
    return [Fraction(value) for value in values]


def _rounded(exact: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers next to the `exact` ones that make `total` together: the largest remainders are rounded up, earlier ones first."""
    found = [math.floor(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda i: (found[i] - exact[i], i))
    for i in order[: total - sum(found)]:
        found[i] += 1
    return found


def _stretched(values: Sequence[float], first: float, last: float) -> list[float]:
    """The values, moved and stretched to [first, last]; all in its middle where they are equal."""
    least, most = min(values), max(values)
    if most == least:
        return [(first + last) / 2] * len(values)
    return [first + (value - least) / (most - least) * (last - first) for value in values]


_BUILT_IN: dict[str, Allocation] = {"owl": owl, "alphapruning": alphapruning}
