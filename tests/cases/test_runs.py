"""Runs from outside: a model, a folder or a file that is not what it seems is refused or repaired, and never called dense."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from difficulty.errors import UsageError
from difficulty.runs.store import check_run
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.run import SweepOutcome
from tests.models_factory import make_model, make_tokenizer, save_tiny

TASK = "difficulty_tiers_sorting_t1"


def sweep(folder: Path, *, extend: bool = False, **options: Any) -> SweepOutcome:
    """Four items of one task at magnitude 0.3, or as `options` say."""
    given = {"tasks": TASK, "methods": "magnitude", "sparsity": "0.3", "limit": 4, **options}
    return run_sweep(build_plan(**given), folder, engine=LocalEngine(workers=1), extend=extend)


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def pruned(folder: Path) -> Path:
    from junkdna_harness import prune

    return Path(
        prune(save_tiny("llama", folder / "m"), folder / "ck", method="magnitude", sparsity=0.7).folder
    )
