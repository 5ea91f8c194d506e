"""A smaller model from a larger one: what its own class makes of the smaller configuration says what has to change.

The model is built again without weights (on the meta device), from its configuration and from the smaller one. Where the two differ
in the shape of a tensor, rows go; where in a number, it is set. So a checkpoint loads as what is in memory. What differs in any other way cannot
be cut, and is refused before anything is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.anatomy import plain_values

PROBED = 16  # tokens that a model which was cut is tried with
# What modules call the number of their block, by which a cache knows it.
INDEX_NAMES = ("layer_idx", "layer_id", "layer_index", "layer_number", "layer_num")


@dataclass(frozen=True)
class Rows:
    """A tensor of which some rows stay: those of `dim`, of which there were `of`."""

    owner: str
    name: str
    dim: int
    of: int


@dataclass
class Differences:
    """What the smaller model has otherwise: `values` by module and name, and tensors with fewer `rows`."""

    values: list[tuple[str, str, Any]] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)


def compare(model: nn.Module, changes: Mapping[str, Any], place: Callable[[str], str]) -> Differences:
    """How the model of the configuration with `changes` differs from `model`.

    `place` gives the name that a module of the smaller model has in the larger one. Values by which blocks differ from what they were are
    refused, but for their numbers.

    Raises:
        UsageError: the smaller model cannot be built, or lacks a part of the larger one, or has another.
    """
    old, new = _build(model, {}), _build(model, changes)
    olds, ours = dict(old.named_modules()), dict(model.named_modules())
    found = Differences()
    for name, module in new.named_modules():
        there = place(name)
        if there not in ours or there not in olds or type(ours[there]).__name__ != type(module).__name__:
            raise refused(model, f"{name} would be another part than {there} is")
        for kind in ("_parameters", "_buffers"):
            found.rows += _rows(model, there, getattr(ours[there], kind), getattr(module, kind))
        was, here = plain_values(olds[there]), plain_values(ours[there])
        for key, value in plain_values(module).items():
            if key in here and here[key] != value and was.get(key) == here[key]:
                found.values.append((there, key, value))
    return found


def _build(model: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """The model of a configuration, without weights."""
    kind: Any = type(model)
    config: Any = copy.deepcopy(model.config)
    try:
        change_config(config.get_text_config(), changes)
        with torch.device("meta"), torch.no_grad():
            built: nn.Module = kind._from_config(config)
            return built
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise refused(model, f"its class does not take the smaller configuration: {first}") from error


def change_config(config: Any, changes: Mapping[str, Any]) -> None:
    """Set the values, all at once for classes that check some against others."""
    names = getattr(type(config), "attribute_map", {})
    for name, value in changes.items():
        object.__setattr__(config, names.get(name, name), value)


def _rows(
    model: nn.Module, owner: str, ours: Mapping[str, Tensor | None], new: Mapping[str, Tensor | None]
) -> list[Rows]:
    found = []
    for name, tensor in new.items():
        here = ours.get(name)
        if tensor is None or here is None:
            if (tensor is None) != (here is None):
                raise refused(model, f"{owner}.{name} would be there in one of both alone")
            continue
        if tensor.shape == here.shape:
            continue
        pairs = list(zip(here.shape, tensor.shape, strict=True)) if tensor.ndim == here.ndim else []
        dims = [dim for dim, (before, after) in enumerate(pairs) if before != after]
        if len(dims) != 1:
            raise refused(
                model, f"{owner}.{name} would be {tuple(tensor.shape)} instead of {tuple(here.shape)}"
            )
        found.append(Rows(owner, name, dims[0], here.shape[dims[0]]))
    return found


def keep_rows(model: nn.Module, rows: Rows, kept: Sequence[int]) -> None:
    """Replace a tensor by its rows that are `kept`."""
    module = model.get_submodule(rows.owner)
    tensor = getattr(module, rows.name)
    index = torch.tensor(list(kept), device=tensor.device)
    smaller = tensor.detach().index_select(rows.dim, index)
    if rows.name in module._parameters:
        module._parameters[rows.name] = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
    else:
        module._buffers[rows.name] = smaller


def set_values(model: nn.Module, values: Sequence[tuple[str, str, Any]]) -> None:
    """Set what modules know as numbers or texts."""
    for owner, name, value in values:
        setattr(model.get_submodule(owner), name, value)


def some_tokens(model: nn.Module) -> Tensor:
    """Token numbers to try a model with, shape (1, 16)."""
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    numbers: Tensor = torch.arange(PROBED, device=embeddings.weight.device) % embeddings.weight.shape[0]
    return numbers[None]


def check_runs(model: nn.Module, left: str) -> None:
    """Run a few tokens through a model that was cut, with its cache as generation has it.

    Raises:
        UsageError: it does not run.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(input_ids=some_tokens(model))
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise refused(model, f"it does not run with {left} ({first})") from error
    finally:
        model.train(training)


def refused(model: nn.Module, why: str) -> UsageError:
    """The sentence for a model that is not cut."""
    return UsageError(
        f"{type(model).__name__} cannot be made smaller by its configuration: {why}. Use a method that removes single weights."
    )
