"""The two models that most tests of this folder compare; none of them changes their weights."""

from __future__ import annotations

import pytest

from junkdna_harness.fidelity.load import Side, load_side


@pytest.fixture(scope="package")
def dense() -> Side:
    """The embedded model."""
    return load_side({"pretrained": "embedded"}, "cpu")


@pytest.fixture(scope="package")
def pruned() -> Side:
    """Half of its weights removed on the fly."""
    return load_side({"pretrained": "embedded", "sparsity": 0.5}, "cpu")
