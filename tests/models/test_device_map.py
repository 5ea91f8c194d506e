"""A model laid over several devices: `device_map` is heard, and where there is one device only the model goes there whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from junkdna_harness.models.base import _lay_out
from junkdna_harness.sweep.session import SweepLM
from tests.models_factory import save_tiny


@pytest.mark.parametrize(
    ("gpu", "given", "laid"),
    [
        (
            True,
            {"device_map": "auto"},
            {"device_map": "auto", "parallelize": True},
        ),  # hf reads it with parallelize alone
        (True, {}, {}),
        (False, {"device_map": "auto"}, {"device_map": None, "parallelize": False}),
        (False, {"device_map": {"": "cpu"}}, {"device_map": {"": "cpu"}, "parallelize": True}),
    ],
)
def test_a_device_map_is_heard(
    gpu: bool, given: dict[str, Any], laid: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    _lay_out(given)
    assert given == laid


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_without_a_gpu_no_weight_is_left_on_the_disk(device_map: Any, tmp_path: Path) -> None:
    save_tiny("llama", tmp_path)
    lm: Any = SweepLM(pretrained=str(tmp_path), device="cpu", device_map=device_map, parallelize=True)
    assert {parameter.device.type for parameter in lm.model.parameters()} == {"cpu"}
