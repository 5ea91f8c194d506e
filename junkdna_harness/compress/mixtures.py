"""Mixtures of experts, known by their structure: which parameters are stacks of experts, and which layers choose among them.

A router is what a mixture holds beside its experts and whose output goes nowhere but into the choice: it has as many outputs as there
are experts (or one, the gate of a shared expert), and no other matrix of its part of the mixture takes them in. Names play no role, so a
gate of several layers, or a classifier somewhere below the router, is left alone as a whole, and the `gate_proj` of a dense layer or of
a shared expert is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

from torch import Tensor, nn

EXPERT = "expert"
_NO_COUNT = (
    "per_tok",
    "top",
    "shared",
    "size",
    "dim",
    "layer",
    "freq",
    "step",
    "interval",
    "group",
    "used",
    "capacity",
)


@dataclass
class Mixtures:
    """`stacks`: for each module (by id) that holds stacked experts, how many; `routers`: ids of the modules that choose."""

    stacks: dict[int, int] = field(default_factory=dict)
    routers: set[int] = field(default_factory=set)


def find_mixtures(root: nn.Module, config: object = None) -> Mixtures:
    """The mixtures of experts below `root`, a list of decoder blocks; `config` may say how many experts there are."""
    found = Mixtures()
    told = _counts(config)
    for block in root.children():
        parents = _parents(block)
        groups = _groups(block, parents, told)
        for module, number in groups:
            if any(is_stack(p) for p in module.parameters(recurse=False)):
                found.stacks[id(module)] = number
        experts = {id(module) for module, _ in groups}
        for module, number in groups:
            found.routers |= _choosers(module, number, parents, experts, told)
    return found


def is_stack(parameter: Tensor) -> bool:
    """True for a parameter of the shape (experts, out, in) or (experts, in, out)."""
    return parameter.ndim == 3 and parameter.shape[0] > 0 and min(parameter.shape[1:]) > 1


def _groups(
    block: nn.Module, parents: Mapping[int, nn.Module], told: set[int]
) -> list[tuple[nn.Module, int]]:
    """The modules of a block that hold experts side by side, with their number."""
    found = []
    for name, module in block.named_modules():
        if number := _number(name, module, parents, told):
            found.append((module, number))
    return found


def _number(name: str, module: nn.Module, parents: Mapping[int, nn.Module], told: set[int]) -> int:
    """How many experts `module` holds side by side; 0 where it holds none."""
    counts = told | _counts(module) | _counts(parents.get(id(module)))
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        shapes = [[tuple(p.shape) for p in member.parameters()] for member in module.children()]
        alike = (
            len(shapes) > 1
            and any(len(shape) > 1 for shape in shapes[0])
            and shapes == shapes[:1] * len(shapes)
        )
        return len(shapes) if alike and (EXPERT in name or len(shapes) in counts) else 0
    if isinstance(module, nn.Embedding):  # experts of one neuron each, looked up by their number
        return module.num_embeddings if module.num_embeddings in told else 0
    if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
        return 0
    own = [p for p in module.parameters(recurse=False) if p.ndim in (2, 3)]
    for p in own:
        if is_stack(p) and (p.shape[0] in counts or EXPERT in name):
            return p.shape[0]
    if len(own) > 1 and EXPERT in name:  # (experts x out, in) as one matrix
        for number in sorted(_counts(module), reverse=True):
            if number > 1 and all(p.ndim == 2 and p.shape[0] % number == 0 for p in own):
                return number
    return 0


def _choosers(
    experts: nn.Module, number: int, parents: Mapping[int, nn.Module], all_experts: set[int], told: set[int]
) -> set[int]:
    """The modules that choose among `experts`: looked for beside them, then one level up, until there are some."""
    outputs = {number, number + 1, *(number + more for more in told if more != number)}
    if isinstance(experts, nn.Embedding):
        outputs.add(2 * isqrt(number))  # an expert is the product of two keys
    inside, outside = experts, parents.get(id(experts))
    while outside is not None:
        parts = [
            part for part in outside.children()
            if part is not inside and not any(id(module) in all_experts for module in part.modules())
        ]  # fmt: skip
        chosen = [part for part in parts if _chooses(part, outputs)]
        of_its_own = any(p.ndim == 2 and outputs & set(p.shape) for p in outside.parameters(recurse=False))
        if chosen or of_its_own:
            chosen += [part for part in parts if _chooses(part, {1})]
            return {id(module) for part in chosen for module in part.modules()}
        inside, outside = outside, parents.get(id(outside))
    return set()


def _chooses(part: nn.Module, outputs: set[int]) -> bool:
    """True where the last of a part's matrices gives one of `outputs`, which no matrix of the part takes in again."""
    shapes = list(_matrices(part))
    if not shapes:
        return False
    rows, _ = shapes[-1]
    taken_in = any(columns == rows for _, columns in shapes[:-1])
    given_back = any(out == shapes[0][1] for out, _ in shapes)
    return rows in outputs and not (taken_in and given_back)


def _matrices(part: nn.Module) -> Iterator[tuple[int, int]]:
    """(out, in) of the matrices of a part, in the order of their definition."""
    for module in part.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 2:
                rows, columns = parameter.shape
                yield (columns, rows) if type(module).__name__ == "Conv1D" else (rows, columns)


def _counts(thing: object) -> set[int]:
    """The numbers of experts that a config or module gives."""
    values: Mapping[str, Any] = thing if isinstance(thing, dict) else getattr(thing, "__dict__", {})
    found: set[int] = set()
    for name, value in values.items():
        if EXPERT not in name or any(word in name for word in _NO_COUNT):
            continue
        several = value if isinstance(value, (list, tuple)) else [value]
        found |= {v for v in several if isinstance(v, int) and not isinstance(v, bool) and v > 0}
    return found


def _parents(block: nn.Module) -> dict[int, nn.Module]:
    return {id(child): module for module in block.modules() for child in module.children()}
