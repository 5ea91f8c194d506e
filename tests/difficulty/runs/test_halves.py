"""The two halves of the items: by cluster, balanced, and the same everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from difficulty.runs.halves import in_calibration_half

IDS = [f"cluster {i}" for i in range(4000)]


def test_the_halves_are_balanced() -> None:
    """4,000 fair coins: five standard deviations are 0.04."""
    assert in_calibration_half(IDS).mean() == pytest.approx(0.5, abs=0.04)
    assert in_calibration_half([f"{i:064x}" for i in range(4000)]).mean() == pytest.approx(0.5, abs=0.04)


def test_all_items_of_a_cluster_are_on_one_side_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(np.repeat(IDS, 3))
    sides = pd.Series(in_calibration_half(shuffled)).groupby(shuffled).nunique()
    assert (sides == 1).all()
    assert dict(zip(shuffled, in_calibration_half(shuffled), strict=True)) == dict(
        zip(IDS, in_calibration_half(IDS), strict=True)
    )


def test_the_side_is_the_parity_of_sha256() -> None:
    """As coreutils compute it."""
    given = ["a", "b", "c", "é", ""]
    printed = [
        subprocess.run(["sha256sum"], input=text.encode(), capture_output=True, check=True).stdout.split()[0]
        for text in given
    ]
    assert in_calibration_half(given).tolist() == [int(hexed, 16) % 2 == 0 for hexed in printed]


def test_another_process_finds_the_same() -> None:
    code = "from difficulty.runs.halves import in_calibration_half as h; print(h([f'cluster {i}' for i in range(200)]).tolist())"
    for seed in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )  # fmt: skip
        assert out.stdout.strip() == str(in_calibration_half(IDS[:200]).tolist())


def test_any_shape_and_kind_of_text() -> None:
    column = pd.Series(IDS[:6], index=[9, 8, 7, 6, 5, 4])
    assert in_calibration_half(column).tolist() == in_calibration_half(IDS[:6]).tolist()
    assert in_calibration_half(np.array(IDS[:6]).reshape(2, 3)).shape == (2, 3)
    assert in_calibration_half([]).shape == (0,)
