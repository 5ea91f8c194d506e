"""Where a model goes when nobody says."""

from __future__ import annotations


def default_device() -> str:
    """The first GPU, or the CPU where there is none."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"
