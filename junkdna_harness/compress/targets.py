"""Which weights are compressed: the linear layers of the decoder blocks, found without knowing the architecture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError, did_you_mean

_ADAPTER_PARTS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector")


@dataclass(frozen=True)
class Target:
    """One (out, in) matrix of a model: a linear layer, or one expert of a stack.

    `name` is the module's (with '[3]' for expert 3), `module_name` what reports are grouped by, `block` the index of the
    decoder block (None outside).
    """

    name: str
    module_name: str
    module: nn.Module
    parameter: nn.Parameter
    transposed: bool
    block: int | None
    expert: int | None = None

    @property
    def weight(self) -> Tensor:
        """A view, shape (out, in), of the stored values: what is written into it changes the model."""
        data = self.parameter.data if self.expert is None else self.parameter.data[self.expert]
        return data.T if self.transposed else data

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        rows, columns = self.weight.shape
        return rows, columns

    @property
    def numel(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The decoder blocks: their name in the model, e.g. 'model.layers', and the list itself.

    Of all module lists, those as long as the config's number of layers come first, then the one with most weights.

    Raises:
        UsageError: the model has no list of blocks with linear layers.
    """
    depth = getattr(_text_config(model), "num_hidden_layers", None)
    best: tuple[tuple[bool, int], str, nn.ModuleList] | None = None
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        if not any(True for _ in _candidates(module, "")):
            continue
        rank = (len(module) == depth, sum(p.numel() for p in module.parameters()))
        if best is None or rank > best[0]:
            best = (rank, name, module)
    if best is None:
        raise UsageError(
            f"{type(model).__name__} has no list of decoder blocks with linear layers; compression needs a causal "
            f"language model of transformers."
        )
    return best[1], best[2]


def find_targets(model: nn.Module, targets: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[Target]:
    """The matrices to compress, in the model's order; a weight shared by several modules comes once.

    By default every linear layer of the decoder blocks but the routers of mixtures of experts. A pattern is matched
    (fnmatch) against any run of a name's dotted parts: 'q_proj', 'mlp.*', 'layers.3', 'model.layers.0.mlp.up_proj'.
    `targets` are looked for in the blocks first; only a pattern that matches nothing there reaches the rest of the model
    (`lm_head`, embeddings). `exclude` wins.

    Raises:
        UsageError: a pattern matches nothing, everything is excluded, or the blocks hold no plain weights.
    """
    prefix, blocks = find_blocks(model)
    inside = list(_dedupe(_candidates(blocks, prefix)))
    inside = [_in_block(target, prefix) for target in inside]
    if targets:
        found = _match_all(model, inside, targets)
    else:
        found = [target for target in inside if not _is_router(model, target)]
    for pattern in exclude:
        if not any(matches(target.name, pattern) for target in _everything(model, inside)):
            raise _no_match("exclude", pattern, inside)
    kept = [t for t in found if not any(matches(t.name, pattern) for pattern in exclude)]
    if not kept:
        raise UsageError(f"exclude={'+'.join(exclude)!r} leaves nothing to compress. Exclude fewer modules.")
    return kept


def matches(name: str, pattern: str) -> bool:
    """True if `pattern` (fnmatch) matches a run of whole dotted parts of `name`."""
    plain = name.partition("[")[0]
    forms = (pattern, f"*.{pattern}", f"{pattern}.*", f"*.{pattern}.*")
    return any(fnmatchcase(candidate, form) for form in forms for candidate in {plain, name})


def tied_names(model: nn.Module, target: Target) -> list[str]:
    """Names of other parameters that are the same tensor as the target's (a tied embedding, a shared block)."""
    own = target.parameter
    return [
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter is own and name.rpartition(".")[0] != target.module_name and name != target.module_name
    ]


def _candidates(root: nn.Module, prefix: str, embeddings: bool = False) -> Iterator[Target]:
    """Every matrix under `root` that has inputs and outputs."""
    for relative, module in root.named_modules():
        name = ".".join(part for part in (prefix, relative) if part)
        if any(part in _ADAPTER_PARTS for part in name.split(".")):
            continue
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) or (embeddings and isinstance(module, nn.Embedding)):
            if isinstance(weight, nn.Parameter):
                yield Target(name, name, module, weight, False, None)
        elif _is_conv1d(module) and isinstance(weight, nn.Parameter):
            yield Target(name, name, module, weight, True, None)
        else:
            yield from _experts(name, module, root)


def _experts(name: str, module: nn.Module, root: nn.Module) -> Iterator[Target]:
    """The experts that a module holds stacked in 3-D parameters (experts, out, in), or (experts, in, out)."""
    number = getattr(module, "num_experts", None)
    for short, parameter in module.named_parameters(recurse=False):
        if parameter.ndim != 3 or parameter.shape[0] != number:
            continue
        full = f"{name}.{short}"
        transposed = _stack_is_transposed(module, root)
        for expert in range(parameter.shape[0]):
            yield Target(f"{full}[{expert}]", full, module, parameter, transposed, None, expert)


def _stack_is_transposed(module: nn.Module, root: nn.Module) -> bool:
    """True for (experts, in, out). transformers says so on most classes; else the residual width decides."""
    declared = getattr(module, "is_transposed", None)
    if declared is not None:
        return bool(declared)
    hidden = getattr(module, "hidden_size", None) or getattr(module, "hidden_dim", None)
    into: set[bool] = set()
    for short, parameter in module.named_parameters(recurse=False):
        if parameter.ndim != 3 or hidden is None:
            continue
        second, third = parameter.shape[1] == hidden, parameter.shape[2] == hidden
        if second != third:
            into.add(second if "down" not in short else third)
    return into == {True}


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's `Conv1D`, whose weight is (in, out)."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def _is_router(model: nn.Module, target: Target) -> bool:
    """A linear layer that picks experts, or the gate of a shared expert: as small as it is delicate."""
    if target.expert is not None:
        return False
    last = target.name.split(".")
    named = {"router", "gate", "shared_expert_gate", "gating"} & set(last[-2:])
    config = _text_config(model)
    keys = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    experts = {value for key in keys if isinstance(value := getattr(config, key, None), int)}
    return bool(named) and bool(experts) and target.shape[0] in experts | {1}


def _in_block(target: Target, prefix: str) -> Target:
    index = target.name[len(prefix) + 1 :].split(".")[0]
    return Target(
        target.name,
        target.module_name,
        target.module,
        target.parameter,
        target.transposed,
        int(index),
        target.expert,
    )


def _dedupe(targets: Iterator[Target]) -> Iterator[Target]:
    seen: set[tuple[int, int | None]] = set()
    for target in targets:
        key = (id(target.parameter), target.expert)
        if key not in seen:
            seen.add(key)
            yield target


def _everything(model: nn.Module, inside: list[Target]) -> list[Target]:
    names = {target.name for target in inside}
    return inside + [t for t in _candidates(model, "", embeddings=True) if t.name not in names]


def _match_all(model: nn.Module, inside: list[Target], patterns: Sequence[str]) -> list[Target]:
    wanted: dict[str, Target] = {}
    for pattern in patterns:
        hits = [target for target in inside if matches(target.name, pattern)]
        if not hits:
            hits = [target for target in _everything(model, inside) if matches(target.name, pattern)]
        if not hits:
            raise _no_match("targets", pattern, inside)
        wanted.update((target.name, target) for target in hits)
    return list(_dedupe(target for target in _everything(model, inside) if target.name in wanted))


def _no_match(argument: str, pattern: str, inside: list[Target]) -> UsageError:
    parts = sorted({t.module_name.split(".")[-1] for t in inside})
    return UsageError(
        f"{argument}={pattern!r} matches no module. The blocks have {', '.join(parts)}; patterns such as 'mlp.*' or "
        f"'layers.0' match parts of names like {inside[0].name!r}.{did_you_mean(pattern, parts)}"
    )


def _text_config(model: nn.Module) -> object:
    config = getattr(model, "config", None)
    getter = getattr(config, "get_text_config", None)
    return getter() if callable(getter) else config


def device_of(module: nn.Module) -> torch.device:
    """Where a module's first parameter lies."""
    for parameter in module.parameters():
        return parameter.device
    return torch.device("cpu")
