"""Three random layers of a shipped plan's architecture, and the plan cut down to what a CPU does in seconds."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from junkdna_harness.embedded import model_path
from junkdna_harness.study.asked import make_plan
from junkdna_harness.study.plan import StudyPlan

BIG = ("1b", "7b", "70b")
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 8}


def save_three_layers(plan: StudyPlan, folder: Path) -> Path:
    """All of the architecture but its sizes: heads that share keys, scaled positions, tied or untied embeddings. Tokens of the embedded models."""
    values: dict[str, Any] = copy.deepcopy(dict(plan.architecture))
    shared = values["num_attention_heads"] // values["num_key_value_heads"]
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    values |= {**SIZES, "num_key_value_heads": SIZES["num_attention_heads"] // shared, "head_dim": 8}
    config = AutoConfig.for_model(values.pop("model_type"), **{**values, "vocab_size": len(tokenizer)})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.2)  # the usual ones give attention that looks at all alike
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def cut(name: str, model: Path | str, **changes: Any) -> StudyPlan:
    """The plan `name` on another model: all of its methods, formats and arms, with few levels, items and steps."""
    plan = make_plan(name)
    few = {
        "pretrained": (str(model),), "tasks": ("difficulty_tiers_names",), "limit": 4, "sparsity": "0,0.5", "patterns": "2:4",
        "controls": ("random",), "refine": None, "nsamples": 2, "seqlen": 32, "recovery_levels": (0.5,), "seeds": (0,), "steps": (1, 2),
        "local_steps": 1, "batch_size": 2,
    }  # fmt: skip
    return replace(plan, **{**few, **changes})
