"""Numbers for clusters that have names: items of one cluster are not independent of each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Clusters = Sequence[object] | NDArray[Any] | None


def cluster_codes(clusters: Clusters, n: int) -> tuple[NDArray[np.intp], int]:
    """A number for each of n items' clusters, shape (n,), and how many clusters there are; None: one per item."""
    numbers: dict[object, int] = {}
    if clusters is None or len(set(clusters)) == n:
        return np.arange(n), n
    codes = np.asarray([numbers.setdefault(name, len(numbers)) for name in clusters])
    return codes, len(numbers)


def linked_codes(first: Sequence[object], second: Sequence[object]) -> NDArray[np.intp]:
    """A number for each item's cluster, shape (n_items,), where two namings are known and either may be too fine.

    Items are in one cluster if `first` or `second` names them alike, directly or through other items: the connected parts of
    the graph whose edges are the items. So a shared passage that only one of two runs knows of is not forgotten.
    """
    a, b = _numbered(first), _numbered(second)
    n_a, n_b = int(a.max()) + 1, int(b.max()) + 1
    edges = sparse.coo_matrix((np.ones(len(a)), (a, n_a + b)), shape=(n_a + n_b, n_a + n_b))
    part = sparse.csgraph.connected_components(edges, directed=False)[1]
    return np.unique(part[a], return_inverse=True)[1].astype(np.intp)


def _numbered(names: Iterable[object]) -> NDArray[np.intp]:
    numbers: dict[object, int] = {}
    return np.asarray([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.intp)
