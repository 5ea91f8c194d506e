"""Recipes in llm-compressor's names are read as what they mean there, or refused by the key that is not done here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from difficulty.errors import UsageError
from junkdna_harness.compress import find_targets
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.recipe import read_recipe, recipe_of
from junkdna_harness.compress.spec import PruneSpec
from tests.commands import junkdna
from tests.models_factory import make_model


def read(tmp_path: Path, text: str) -> tuple[str, dict[str, Any]]:
    (tmp_path / "recipe.yaml").write_text(text)
    return read_recipe(tmp_path / "recipe.yaml")


SPARSE = """
pruning_stage:
  obcq_modifiers:
    SparseGPTModifier:
      sparsity: 0.5
      mask_structure: 2:4
      block_size: 128
      dampening_frac: 0.01
      sequential_update: true
      targets: [Linear]
      ignore: ["re:.*lm_head"]
"""
SPARSE_FP8 = (
    SPARSE
    + """
quant_stage:
  quant_modifiers:
    QuantizationModifier:
      ignore: ["lm_head", "re:vision_tower.*"]
      config_groups:
        group_0:
          weights: {num_bits: 8, type: float, strategy: channel, dynamic: false, symmetric: true}
          input_activations: {num_bits: 8, type: float, strategy: token, dynamic: true, symmetric: true}
          targets: ["Linear"]
"""
)
GPTQ = """
GPTQModifier:
  ignore: [lm_head, model.layers.0.mlp.down_proj]
  config_groups:
    group_0:
      weights: {num_bits: 4, type: int, symmetric: true, strategy: group, group_size: 128}
      targets: ["re:.*self_attn.*", "re:.*mlp.up_proj$"]
"""


@pytest.mark.parametrize(
    ("text", "command", "values"),
    [
        (SPARSE, "prune", {"method": "sparsegpt", "pattern": "2:4"}),
        (SPARSE.replace("2:4", "0:0"), "prune", {"method": "sparsegpt", "sparsity": 0.5}),
        # Theirs says how many of a group go, ours how many stay.
        (SPARSE.replace("2:4", "1:4").replace("0.5", "0.25"), "prune", {"method": "sparsegpt", "pattern": "3:4"}),
        ("WandaPruningModifier: {sparsity: 0.6, sparsity_profile: owl, owl_m: 5, owl_lmbda: 0.08}", "prune",
         {"method": "wanda", "sparsity": 0.6, "allocation": "owl"}),
        ("REAPPruningModifier: {sparsity: 0.25}", "prune", {"method": "experts", "sparsity": 0.25}),
        (SPARSE_FP8, "prune", {"method": "sparsegpt", "pattern": "2:4", "quantizer": "fp8", "group_size": -1,
                               "activations": "fp8", "activation_scale": "dynamic"}),
        # Their default order is static, that is, by activation with the groups of neighbours.
        (GPTQ, "quantize", {"method": "gptq", "bits": 4, "group_size": 128, "symmetric": True, "act_order": True,
                            "targets": ("re:.*self_attn.*", "re:.*mlp.up_proj$"), "exclude": ("model.layers.0.mlp.down_proj",)}),
        ("GPTQModifier: {scheme: W4A16, actorder: null, targets: Linear, ignore: [lm_head]}", "quantize", {"method": "gptq", "scheme": "W4A16"}),
        ("AWQModifier: {}\nQuantizationModifier: {scheme: W4A16_ASYM}", "quantize", {"method": "awq", "scheme": "W4A16_ASYM"}),
        ("QuantizationModifier: {config_groups: {g: {weights: {num_bits: 4, type: float, strategy: tensor_group, group_size: 16}}}}",
         "quantize", {"method": "nvfp4"}),
        ("QuantizationModifier: {config_groups: {g: {weights: {num_bits: 8, type: int, strategy: channel}, "
         "input_activations: {num_bits: 8, type: int, dynamic: false}}}}", "quantize",
         {"method": "rtn", "bits": 8, "group_size": -1, "symmetric": True, "activations": "int8", "activation_scale": "static"}),
        ("prune: {method: wanda, sparsity: 0.5, calibration: text.txt}", "prune", {"method": "wanda", "sparsity": 0.5, "calibration": "text.txt"}),
    ],
)  # fmt: skip
def test_what_a_recipe_means(tmp_path: Path, text: str, command: str, values: dict[str, Any]) -> None:
    found = read(tmp_path, text)
    assert found == (command, values)
    spec = (PruneSpec if command == "prune" else QuantSpec).from_strings(found[1])
    # Ours, written and read again, is the same spec.
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(recipe_of(spec)))
    again, given = read_recipe(tmp_path / "ours.yaml")
    assert again == command and type(spec).from_strings(given) == spec
    (tmp_path / "junkdna.json").write_text(yaml.safe_dump({"method": "x", "recipe": recipe_of(spec)}))
    assert read_recipe(tmp_path / "junkdna.json") == (again, given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SmoothQuantModifier: {smoothing_strength: 0.8}\n" + GPTQ, "has 'SmoothQuantModifier', which is not done here"),
        ("GPTQModifer: {scheme: W4A16}", "Did you mean 'GPTQModifier'"),
        (GPTQ + "  dampening_frac: 0.1\n", "dampening_frac=0.1 is not done here, only 0.01"),
        (GPTQ + "  actorder: group\n", "actorder=group is not done here"),
        (GPTQ.replace("symmetric: true,", "symmetric: true, observer: mse,"), "observer=mse is not done here"),
        (GPTQ + "  kv_cache_scheme: {num_bits: 8}\n", "kv_cache_scheme=.* is not done here"),
        (GPTQ.replace("re:.*self_attn.*", "re:.*(q|k_proj"), "is no regular expression"),
        (GPTQ.replace("re:.*self_attn.*", "mlp *"), "is no name of a module"),
        ("AWQModifier: {}\n" + GPTQ, "Only QuantizationModifier goes with AWQModifier"),
        (GPTQ.replace("symmetric: true,", "symmetric: true, actorder: group,"), "actorder=group is not done here"),
        (GPTQ.replace("symmetric: true,", "symmetric: true, dynamic: true,"), "dynamic=True is not done here"),
        (GPTQ.replace("type: int", "type: Float"), "type='Float' is not done here"),
        ("QuantizationModifier: {config_groups: {g: {weights: {num_bits: 4, type: float, group_size: 32, scale_dtype: float16}}}}", "scale_dtype='float16' is not"),
        ("QuantizationModifier: {config_groups: {g: {weights: {num_bits: 8, type: float, strategy: channel, symmetric: false}}}}", "symmetric=false is not"),
        ("5: 6", "has 5 where a name belongs"),
        ("GPTQModifier: {5: 6}", "has 5 where a name belongs"),
        ("quantize: {1: 2}", "has 1 where a name belongs"),
        (SPARSE.replace("0.5", "0.7"), "mask_structure=2:4 does not remove sparsity=0.7"),
        (SPARSE.replace("sparsity: 0.5", "sparsity: [0.5, 0.6]"), "is no single number"),
        ("WandaPruningModifier: {sparsity: 0.6, sparsity_profile: owl, owl_m: 3, owl_lmbda: 0.08}", "only owl with 5 and 0.08"),
        ("AWQModifier: {}", "Add QuantizationModifier"),
        ("AWQModifier: {}\nQuantizationModifier: {config_groups: {g: {weights: {num_bits: 8, type: float, strategy: channel}}}}",
         "awq rounds whole numbers"),
        ("QuantizationModifier: {}", "needs scheme or config_groups"),
        ("QuantizationModifier: {config_groups: {g: {weights: {num_bits: 8, strategy: tensor}}}}", "strategy=tensor is not done here"),
        ("QuantizationModifier: {config_groups: {a: {weights: {strategy: channel}}, b: {weights: {strategy: channel}}}}", "has 2 groups"),
        (SPARSE + "WandaPruningModifier: {sparsity: 0.5}", "does two things of one kind"),
        ("a: [", "is no YAML"),
        ("", "holds no names with values"),
        ("- a", "holds no names with values"),
    ],
)  # fmt: skip
def test_what_is_not_done_here_is_refused_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(tmp_path / "absent.yaml")


def test_the_commands_read_a_recipe_and_write_one_that_does_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        SPARSE + "quant_stage: {quant_modifiers: {QuantizationModifier: {scheme: W8A16}}}\n"
    )
    small = ["--calibration", "embedded", "--nsamples", "4", "--seqlen", "32"]
    done = junkdna("prune", "--recipe", "recipe.yaml", *small, "--output", "one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = junkdna("prune", "--recipe", "one/junkdna.json", "--output", "two", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    one, two = (json.loads((tmp_path / name / "junkdna.json").read_text()) for name in ("one", "two"))
    assert one["weights_sha256"] == two["weights_sha256"] and one["recipe"] == two["recipe"]
    assert (one["method"], one["pattern"], one["quantizer"], one["bits"]) == ("sparsegpt", "2:4", "rtn", 8)
    wrong = junkdna("quantize", "--recipe", "recipe.yaml", "--output", "three", cwd=tmp_path)
    assert wrong.returncode == 2 and "says what junkdna prune does" in wrong.stderr
    wrong = junkdna(
        "prune", "--recipe", "recipe.yaml", "--method", "wanda", "--output", "three", cwd=tmp_path
    )
    assert wrong.returncode == 2 and "says method=sparsegpt, and method=wanda was given" in " ".join(
        wrong.stderr.split()
    )
    assert not (tmp_path / "three").exists()


def test_regular_expressions_mean_what_they_mean_there() -> None:
    model, _ = make_model("llama")
    names = {target.name for target in find_targets(model)}
    for pattern in ("re:.*self_attn.*", "re:.*layers.1.*", "re:.*(q|k)_proj$", "re:model.layers.0.mlp"):
        expected = {name for name in names if re.match(pattern[3:], name)}
        found = {target.name for target in find_targets(model, [pattern])}
        assert found == expected and 0 < len(found) < len(names)
    ignored = PruneSpec.from_strings({"exclude": ["re:.*(q|k)_proj"]}).exclude
    assert {t.name for t in find_targets(model, (), ignored)} == {
        n for n in names if not re.match(".*(q|k)_proj", n)
    }
