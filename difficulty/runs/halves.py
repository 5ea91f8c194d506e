"""The two halves of the items: on one, levels may be chosen (`junkdna sweep --match-loss`); on the other, they are judged.

Levels chosen by a loss and judged by the same items would look more alike than they are. Which half an item is in depends on
the text of its cluster alone: not on the run, the order, the process or the machine, so that whoever judges finds the same.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike

from difficulty.stats.result import Bools

RULE = "calibration half: items whose cluster_id has a sha256 (of its UTF-8 text) that is an even number"


def in_calibration_half(cluster_ids: ArrayLike) -> Bools:
    """True for the items on which levels are chosen, false for those on which they are judged.

    `cluster_ids`, shape (n,), are those of the tidy table, as text; the result has the same shape. An item is in the
    calibration half where the sha256 of its cluster's id, read as a number, is even: a fair coin for each cluster, the same
    everywhere, and all items of a cluster on one side.

    >>> in_calibration_half(["b", "c", "b"]).tolist()
    [False, True, False]
    """
    names = np.asarray(cluster_ids, dtype=object)
    flat = [str(name) for name in names.ravel()]
    even = {name: hashlib.sha256(name.encode()).digest()[-1] % 2 == 0 for name in dict.fromkeys(flat)}
    return np.array([even[name] for name in flat], dtype=bool).reshape(names.shape)
