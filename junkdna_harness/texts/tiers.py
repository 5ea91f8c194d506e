"""Tiers of a text's tokens, four of each family, from what is easy to what is hard to predict, without looking at any score.

| family | axis | tier 1 | tier 4 |
|---|---|---|---|
| frequency | how often the token occurs in the other half of the text | the most frequent quarter | the rarest |
| position | tokens that its prediction sees | half a window and more | fewer than a 32nd of it |
| copy | the longest run of tokens, ending with this one, that stood in the window before | four and more | none |
| surprisal (`models.surprisal`) | another model's loss on the token | the least quarter | the greatest |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from junkdna_harness.texts.tokens import TokenizedText
from junkdna_harness.texts.windows import Ints

TIERS = (1, 2, 3, 4)
SHARES = (
    32,
    8,
    2,
)  # tiers 3, 2 and 1 begin at one 32nd, one eighth and half of a window: 16, 64, 256 tokens of 512
LONGEST = 4  # tokens of a repeated run, beyond which no tier is easier


def frequency(text: TokenizedText) -> Ints:
    """Tier of each token, shape (n,): by its count in the other half, so that no token makes itself frequent.

    Halves are the even and the odd blocks of 256 tokens. Tiers are the quarters of all tokens by that count, equal counts together.
    """
    half = text.block % 2
    counts = [Counter(text.token[half == side].tolist()) for side in (0, 1)]
    found = np.asarray(
        [counts[1 - h][t] for h, t in zip(half.tolist(), text.token.tolist(), strict=True)], dtype=float
    )
    return quarters(-found)


def position(text: TokenizedText) -> Ints:
    """Tier of each token, shape (n,): by the tokens that its prediction sees, in parts of the longest window."""
    longest = max(len(window.inputs) for window in text.windows)
    begins = [longest // share for share in SHARES]
    return np.asarray(len(TIERS) - np.searchsorted(begins, text.context, side="right"), dtype=np.int64)


def copy(text: TokenizedText) -> Ints:
    """Tier of each token, shape (n,): by the length of the longest run, ending with it, that its window showed before.

    Four tokens and more are tier 1, two or three 2, the token alone 3; tier 4 are tokens that the window has not shown yet.
    """
    found: list[int] = []
    for window in text.windows:
        seen: set[tuple[int, ...]] = set()
        ids = [*window.inputs.tolist(), int(window.targets[-1])]
        for end in range(1, len(ids) + 1):
            runs = [tuple(ids[end - n : end]) for n in range(1, min(LONGEST, end) + 1)]
            if end > window.first + 1:  # a target
                found.append(max((len(run) for run in runs if run in seen), default=0))
            seen.update(runs)
    lengths = np.asarray(found)
    return np.asarray(len(TIERS) - np.searchsorted((1, 2, LONGEST), lengths, side="right"), dtype=np.int64)


def quarters(values: NDArray[np.float64]) -> Ints:
    """1 to 4 for each value: which quarter of all it is in, the smallest first. Equal values are in one; a quarter may be empty."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    middle = (below + upto) / 2 / len(values)  # the middle of the ranks that equal values share
    return np.asarray(np.minimum(np.floor(middle * len(TIERS)), len(TIERS) - 1) + 1, dtype=np.int64)


FAMILIES: dict[str, Callable[[TokenizedText], Ints]] = {
    "frequency": frequency,
    "position": position,
    "copy": copy,
}
AXES = {
    "frequency": "count in the other half of the text", "position": "tokens of context", "copy": "repeated run",
    "surprisal": "another model's loss",
}  # fmt: skip
