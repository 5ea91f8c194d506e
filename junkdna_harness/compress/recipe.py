"""Recipes: what to do as a YAML file, in llm-compressor's names or in ours.

Of llm-compressor's, what is done here in the same way is taken, and everything else is refused by name: a key that was left out
without a word would give another model. Names: github.com/vllm-project/llm-compressor, `src/llmcompressor/modifiers`.

Ours is `prune:` or `quantize:` with the arguments of that command, as every manifest has it under `recipe`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.compress.notation import REGEX
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.yaml_values import read_yaml_file

PRUNE, QUANTIZE = "prune", "quantize"
_SPARSIFIERS = {"SparseGPTModifier": "sparsegpt", "WandaPruningModifier": "wanda"}
_EXPERTS = "REAPPruningModifier"
_QUANTIZERS = {"QuantizationModifier": "rtn", "GPTQModifier": "gptq"}
_AWQ = "AWQModifier"
MODIFIERS = (*_SPARSIFIERS, _EXPERTS, *_QUANTIZERS, _AWQ)
# Keys that change nothing in what comes out, or say what is done here in any case.
_FREE = frozenset(
    {
        "sequential_update",
        "sequential_targets",
        "preserve_sparsity_mask",
        "offload_hessians",
        "offload_device",
        "report_path",
    }
)
_ONLY = {
    "block_size": 128,
    "dampening_frac": 0.01,
    "n_grid": 20,
}  # keys with one value that is what is done here
# What their recipes leave out, and nothing here would reach.
_ASIDE = re.compile(
    r"(?:re:)?[\^.*]*(?:model\\?\.)?(?:lm_head|embed_tokens|vision_tower|vision_model|visual|multi_modal_projector|audio_tower)[.*$]*"
)
_MINMAX = frozenset({"minmax", "memoryless_minmax", "static_minmax"})
_PLAIN_NAME = re.compile(r"[\w.]+")


def read_recipe(path: str | Path) -> tuple[str, dict[str, Any]]:
    """The command, "prune" or "quantize", and its arguments as `--model_args` would bring them.

    Raises:
        UsageError: the file cannot be read, or asks for something that is not done here.
    """
    given = _read(Path(path))
    if "recipe" in given:  # a manifest
        given = _mapping(given["recipe"], "recipe")
    own = [name for name in (PRUNE, QUANTIZE) if name in given]
    if len(own) == 1 and len(given) == 1:
        return own[0], dict(_mapping(given[own[0]], own[0]))
    return _translate(dict(_modifiers(given, str(path))))


def recipe_of(spec: PruneSpec | QuantSpec) -> dict[str, dict[str, Any]]:
    """A spec as a recipe in our own names: what is not the default."""
    values = {}
    for one in fields(spec):
        value = getattr(spec, one.name)
        if value != one.default or one.name == "method":
            values[one.metadata["names"][0] if one.metadata["names"] else one.name] = (
                list(value) if isinstance(value, tuple) else value
            )
    return {PRUNE if isinstance(spec, PruneSpec) else QUANTIZE: values}


def _read(path: Path) -> Mapping[str, Any]:
    found = read_yaml_file(path, "recipe", "Name a recipe in YAML or JSON.")
    return _mapping(found, str(path))


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise UsageError(
            f"recipe {where!r} holds no names with values. Write modifiers of llm-compressor (e.g. GPTQModifier: {{scheme: W4A16}}), "
            "or prune: or quantize: with arguments."
        )
    if other := [name for name in value if not isinstance(name, str)]:
        raise UsageError(f"recipe {where!r} has {other[0]!r} where a name belongs. Write names as text.")
    return value


def _modifiers(given: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, keys) of each modifier: they stand in stages, in groups called `..._modifiers`, or at the top."""
    seen: set[str] = set()
    for name, value in given.items():
        if name.endswith(("_stage", "_modifiers", "modifiers")):
            found = list(_modifiers(_mapping(value, name), path))
        elif name in MODIFIERS:
            found = [(name, _mapping(value, name) if value else {})]
        else:
            raise UsageError(
                f"recipe {path!r} has {name!r}, which is not done here. Known are {', '.join(MODIFIERS)}, prune and quantize."
                f"{did_you_mean(name, (*MODIFIERS, PRUNE, QUANTIZE))}"
            )
        for modifier, keys in found:
            if modifier in seen:
                raise UsageError(
                    f"recipe {path!r} has {modifier} twice. What comes after the first is a run of its own."
                )
            seen.add(modifier)
            yield modifier, keys


def _translate(modifiers: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    pruning = [name for name in modifiers if name in _SPARSIFIERS or name == _EXPERTS]
    rounding = [name for name in modifiers if name in _QUANTIZERS]
    if len(pruning) > 1 or len(rounding) > 1:
        both = pruning if len(pruning) > 1 else rounding
        raise UsageError(
            f"a recipe with {' and '.join(both)} does two things of one kind. Run one after the other."
        )
    if _AWQ in modifiers and rounding and rounding[0] != "QuantizationModifier":
        raise UsageError(
            f"a recipe with {_AWQ} and {rounding[0]} rounds twice over. Only QuantizationModifier goes with {_AWQ} here."
        )
    if _AWQ in modifiers and not rounding and not {"scheme", "config_groups"} & modifiers[_AWQ].keys():
        raise UsageError(
            "AWQModifier scales weights for a rounding. Add QuantizationModifier, which says of what kind."
        )
    values: dict[str, Any] = {}
    if rounding or _AWQ in modifiers:
        values = _rounding(rounding[0] if rounding else _AWQ, modifiers)
    if not pruning:
        return QUANTIZE, values
    removing = _removing(pruning[0], modifiers[pruning[0]])
    if values and _places(removing) != _places(values):
        raise UsageError(
            f"{pruning[0]} and {', '.join(rounding)} have other targets. Run one after the other."
        )
    if "method" in values:
        values["quantizer"] = values.pop("method")
    return PRUNE, {**values, **removing}


def _places(values: Mapping[str, Any]) -> tuple[Any, Any]:
    return values.get("targets"), values.get("exclude")


def _removing(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    known = {"sparsity", "mask_structure", "sparsity_profile", "owl_m", "owl_lmbda", "targets", "ignore"}
    _check_keys(name, keys, known if name != _EXPERTS else {"sparsity", "ignore"})
    sparsity = keys.get("sparsity")
    if not isinstance(sparsity, (int, float)) or isinstance(sparsity, bool):
        raise UsageError(
            f"{name}: sparsity={sparsity!r} is no single number. Give the fraction that goes, e.g. 0.5."
        )
    if name == _EXPERTS:
        return {"method": "experts", "sparsity": sparsity, **_targets(name, keys)}
    values: dict[str, Any] = {"method": _SPARSIFIERS[name], "sparsity": sparsity}
    gone, _, group = str(keys.get("mask_structure") or "0:0").partition(":")
    if (gone, group) != ("0", "0"):
        if not gone.isdigit() or not group.isdigit() or int(gone) != sparsity * int(group):
            raise UsageError(
                f"{name}: mask_structure={gone}:{group} does not remove sparsity={sparsity}. Give e.g. sparsity: 0.5 with 2:4."
            )
        del values["sparsity"]
        values["pattern"] = f"{int(group) - int(gone)}:{group}"  # theirs says how many go, ours how many stay
    owl = [keys.get(key) for key in ("sparsity_profile", "owl_m", "owl_lmbda")]
    if any(value is not None for value in owl):
        if [str(owl[0]).lower(), *owl[1:]] != ["owl", 5, 0.08]:
            raise UsageError(
                f"{name}: sparsity_profile={owl[0]} with owl_m={owl[1]} and owl_lmbda={owl[2]} is not done here, only owl with 5 and 0.08."
            )
        values["allocation"] = "owl"
    return {**values, **_targets(name, keys)}


def _rounding(name: str, modifiers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The arguments of `quantize` from a quantizing modifier, and AWQ's beside it."""
    keys = modifiers[name]
    own = {"targets", "ignore", "scheme", "config_groups"}
    _check_keys(
        name,
        keys,
        own
        | (
            {"actorder"} if name == "GPTQModifier" else {"duo_scaling", "mappings"} if name == _AWQ else set()
        ),
    )
    if _AWQ in modifiers and name != _AWQ:
        _check_keys(_AWQ, modifiers[_AWQ], {"duo_scaling", "mappings"})
    if (keys.get("scheme") is None) == (keys.get("config_groups") is None):
        raise UsageError(f"{name} needs scheme or config_groups, one of them.")
    values: dict[str, Any] = {}
    targets = keys
    if keys.get("scheme") is not None:
        values["scheme"] = keys["scheme"]
    else:
        groups = list(_mapping(keys["config_groups"], f"config_groups of {name}").values())
        if len(groups) != 1:
            raise UsageError(
                f"{name}: config_groups has {len(groups)} groups; all layers are rounded alike here. Give one."
            )
        values |= _group(name, _mapping(groups[0], f"config_groups of {name}"))
        targets = {"targets": groups[0].get("targets"), "ignore": keys.get("ignore")}
    method = "awq" if _AWQ in modifiers else _QUANTIZERS[name]
    if method != "rtn":
        if values.get("method") not in (None, "rtn"):
            raise UsageError(
                f"{name}: {method} rounds whole numbers here, and the recipe asks for {values['method']}."
            )
        values["method"] = method
    if method == "gptq":
        values |= _order(keys.get("actorder", "static"))
    return {**values, **_targets(name, targets)}


def _order(actorder: object) -> dict[str, Any]:
    """`static` (also called `weight`) is their default."""
    if actorder is None:
        return {}
    if str(actorder) not in ("static", "weight"):
        raise UsageError(f"actorder={actorder} is not done here. Give static (groups of neighbours) or null.")
    return {"act_order": True}


def _group(name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    """One group of `config_groups`: weights and activations."""
    _only(
        f"config_groups of {name}",
        group,
        {"weights", "input_activations", "output_activations", "targets", "format"},
    )
    if group.get("output_activations"):
        raise UsageError(f"{name}: output_activations are not rounded here. Leave them out.")
    values = _weights(name, _mapping(group.get("weights") or {}, f"weights of {name}"))
    if activations := group.get("input_activations"):
        values |= _activations(name, _mapping(activations, f"input_activations of {name}"))
    return values


def _weights(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    where = f"weights of {name}"
    _only(
        where,
        given,
        {
            "num_bits",
            "type",
            "symmetric",
            "strategy",
            "group_size",
            "observer",
            "actorder",
            "zp_dtype",
        },
    )
    _observer(where, given)
    kind = _kind(where, given)
    if given.get("actorder") is not None:
        _order(given["actorder"])
    strategy, size, bits = given.get("strategy"), given.get("group_size"), given.get("num_bits", 8)
    if strategy is None:
        strategy = "group" if size not in (None, -1) else "tensor" if size is None else "channel"
    if strategy not in ("group", "tensor_group", "channel"):
        raise UsageError(
            f"{where}: strategy={strategy} is not done here. Give channel (one scale per row) or group."
        )
    group = -1 if strategy == "channel" else size
    if kind == "int":
        return {
            "method": "rtn",
            "bits": bits,
            "group_size": group,
            "symmetric": bool(given.get("symmetric", True)),
        }
    known: Mapping[tuple[Any, Any], str] = {(8, -1): "fp8", (4, 16): "nvfp4", (4, 32): "mxfp4"}
    if bits == 8:
        return {"method": "fp8", "group_size": group}
    if (bits, group) not in known:
        raise UsageError(
            f"{where}: floats of {bits} bits in groups of {group} are not done here. Known are 8 bits, and 4 bits by 16 or 32."
        )
    return {"method": known[bits, group]}


def _activations(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    where = f"input_activations of {name}"
    _only(where, given, {"num_bits", "type", "symmetric", "strategy", "dynamic", "observer"})
    _observer(where, given)
    bits, dynamic = given.get("num_bits", 8), bool(given.get("dynamic"))
    if bits != 8 or not given.get("symmetric", True):
        raise UsageError(f"{where}: only 8 bits, symmetric, are done here.")
    strategy = given.get("strategy") or ("token" if dynamic else "tensor")
    if (strategy, dynamic) not in (("token", True), ("tensor", False)):
        raise UsageError(
            f"{where}: strategy={strategy} with dynamic={dynamic} is not done here. Give token and true, or tensor and false."
        )
    kind = "int8" if _kind(where, given) == "int" else "fp8"
    return {"activations": kind, "activation_scale": "dynamic" if dynamic else "static"}


def _kind(where: str, given: Mapping[str, Any]) -> str:
    """`int` or `float`; floats have no zero points."""
    kind = given.get("type", "int")
    if kind not in ("int", "float"):
        raise UsageError(f"{where}: type={kind!r} is not done here. Give int or float.")
    if kind == "float" and not given.get("symmetric", True):
        raise UsageError(f"{where}: symmetric=false is not done here with floats. Leave it out.")
    return str(kind)


def _observer(where: str, given: Mapping[str, Any]) -> None:
    if (observer := given.get("observer")) is not None and str(observer) not in _MINMAX:
        raise UsageError(
            f"{where}: observer={observer} is not done here; scales go by the largest value (minmax)."
        )


def _check_keys(name: str, keys: Mapping[str, Any], known: set[str]) -> None:
    for key, only in _ONLY.items():
        if key in keys and keys[key] != only:
            raise UsageError(f"{name}: {key}={keys[key]} is not done here, only {only}. Leave it out.")
    if keys.get("mappings") is not None:
        raise UsageError(
            f"{name}: mappings are not read; every layer has scales of its own here. Leave them out."
        )
    _only(name, keys, known | _FREE | _ONLY.keys())


def _only(where: str, keys: Mapping[str, Any], known: set[str]) -> None:
    for key, value in keys.items():
        if key not in known and value not in (None, False, [], {}):
            raise UsageError(
                f"{where}: {key}={value!r} is not done here. Known are {', '.join(sorted(known - _FREE))}.{did_you_mean(key, known)}"
            )


def _targets(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """`targets` and `ignore` as our patterns; what lies outside the decoder blocks is left alone in any case."""
    targets = [one for one in _listed(keys.get("targets")) if one != "Linear"]
    ignored = [one for one in _listed(keys.get("ignore")) if not _ASIDE.fullmatch(one)]
    values = {"targets": targets, "exclude": ignored}
    return {key: tuple(_pattern(name, one) for one in found) for key, found in values.items() if found}


def _listed(given: object) -> Sequence[str]:
    if given is None:
        return []
    return [str(one) for one in given] if isinstance(given, (list, tuple)) else [str(given)]


def _pattern(name: str, given: str) -> str:
    """A module's name, or `re:REGEX` of them, which means here what it means there."""
    try:
        re.compile(given.removeprefix(REGEX))
    except re.error as error:
        raise UsageError(f"{name}: {given!r} is no regular expression ({error}).") from error
    if not given.startswith(REGEX) and not _PLAIN_NAME.fullmatch(given):
        raise UsageError(
            f"{name}: {given!r} is no name of a module. Write its name, or re: and a regular expression."
        )
    return given
