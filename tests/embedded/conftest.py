"""The tokenizer of the embedded models, built once for all tests: it reads 256,000 training items."""

from __future__ import annotations

from typing import Any

import pytest

from junkdna_harness.embedded.tokenizer import build_tokenizer


@pytest.fixture(scope="session")
def suite_tokenizer() -> Any:
    """As the recipe makes it."""
    return build_tokenizer()
