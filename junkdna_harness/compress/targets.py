"""Which weights are compressed: the linear layers of the decoder blocks, found without knowing the architecture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.compress.mixtures import find_mixtures, is_stack
from junkdna_harness.compress.notation import REGEX

_ADAPTER_PARTS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector")

# Parts of names: what sees and hears is not what answers.
TOWERS = ("vision", "visual", "audio", "speech", "image_", "vqmodel", "vqvae", "multi_modal", "mm_projector")
STEP_SIZE = "dt_proj"
_DECAY = ("A_log", "A")  # what stands beside a step size: the decay of a state


@dataclass(frozen=True)
class Target:
    """One (out, in) matrix of a model: a linear layer, or one expert of a stack.

    `name` is the module's (with '[3]' for expert 3), `module_name` what reports are grouped by, `block` the place of the
    decoder block in `decoder_blocks` (None outside). `twins` are modules of later blocks that use the same matrix.
    """

    name: str
    module_name: str
    module: nn.Module
    parameter: nn.Parameter
    transposed: bool
    block: int | None
    expert: int | None = None
    twins: tuple[nn.Module, ...] = ()

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
    """The decoder blocks: their name in the model, e.g. 'model.layers', and the list itself; of several lists the main one.

    Of all module lists, those as long as the config's number of layers come first, then the one with most weights.

    Raises:
        UsageError: the model has no list of blocks with linear layers.

    Examples:
        >>> from transformers import AutoModelForCausalLM
        >>> from junkdna_harness.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> name, blocks = find_blocks(model)
        >>> name, len(blocks)
        ('model.layers', 4)
    """
    depth = getattr(_text_config(model), "num_hidden_layers", None)
    best: tuple[tuple[bool, bool, int], str, nn.ModuleList] | None = None
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        if not any(True for _ in _candidates(module, "")):
            continue
        rank = (not is_tower(name), len(module) == depth, sum(p.numel() for p in module.parameters()))
        if best is None or rank > best[0]:
            best = (rank, name, module)
    if best is None:
        raise UsageError(
            f"{type(model).__name__} has no list of decoder blocks with linear layers; compression needs a causal "
            f"language model of transformers."
        )
    return best[1], best[2]


def find_lists(model: nn.Module) -> list[tuple[str, nn.ModuleList]]:
    """All lists of decoder blocks, in the model's order: the main one and others beside it; towers of images and sound stay aside.

    Raises:
        UsageError: the model has no list of blocks with linear layers.
    """
    main, blocks = find_blocks(model)
    found: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        if name == main:
            found.append((main, blocks))
            continue
        others = (main, *(one for one, _ in found))
        beside = not any(_around(one, name) or _around(name, one) for one in others)
        if isinstance(module, nn.ModuleList) and beside and not is_tower(name) and _holds_blocks(module):
            found.append((name, module))
    return found


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of all lists, one after the other: `Target.block` is a place in it."""
    return [block for _, blocks in find_lists(model) for block in blocks]


def is_tower(name: str) -> bool:
    """True for what sees or hears: it is not what answers."""
    return any(tower in name for tower in TOWERS)


def find_targets(model: nn.Module, targets: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[Target]:
    """The matrices to compress, in the model's order; a weight shared by several modules comes once.

    By default every linear layer of the decoder blocks but the routers of mixtures of experts and the step sizes of state-space
    layers (`STEP_SIZE`). A pattern is matched
    (fnmatch) against any run of a name's dotted parts: 'q_proj', 'mlp.*', 'layers.3', 'model.layers.0.mlp.up_proj'.
    `targets` are looked for in the blocks first; only a pattern that matches nothing there reaches the rest of the model
    (`lm_head`, embeddings). `exclude` wins.

    Raises:
        UsageError: a pattern matches nothing, everything is excluded, or the blocks hold no plain weights.

    Examples:
        >>> from transformers import AutoModelForCausalLM
        >>> from junkdna_harness.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> [target.name for target in find_targets(model, ("q_proj",))][:1]
        ['model.layers.0.self_attn.q_proj']
    """
    inside, delicate = _inside(model)
    if targets:
        found = _match_all(model, inside, targets)
    else:
        found = [target for target in inside if id(target.module) not in delicate]
    for pattern in exclude:
        if not any(matches(target.name, pattern) for target in _everything(model, inside)):
            raise _no_match("exclude", pattern, inside)
    kept = [t for t in found if not any(matches(t.name, pattern) for pattern in exclude)]
    if not kept:
        raise UsageError(f"exclude={'+'.join(exclude)!r} leaves nothing to compress. Exclude fewer modules.")
    return kept


def matches(name: str, pattern: str) -> bool:
    """True if `pattern` (fnmatch) matches a run of whole dotted parts of `name`; or, after `re:`, a regular expression its beginning."""
    plain = name.partition("[")[0]
    if pattern.startswith(REGEX):
        return re.match(pattern.removeprefix(REGEX), plain) is not None
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


def _candidates(
    root: nn.Module,
    prefix: str,
    embeddings: bool = False,
    stacks: Mapping[int, int] | None = None,
    width: int | None = None,
) -> Iterator[Target]:
    """Every matrix under `root` that has inputs and outputs; `stacks` as `Mixtures` has them, `width` is the residual stream's."""
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
        elif stacks is not None and id(module) in stacks:
            yield from _experts(name, module, stacks[id(module)], width)


def _experts(name: str, module: nn.Module, number: int, width: int | None) -> Iterator[Target]:
    """The experts that a module holds stacked in 3-D parameters (experts, out, in), or (experts, in, out)."""
    stacked = [
        (short, parameter) for short, parameter in module.named_parameters(recurse=False)
        if is_stack(parameter) and parameter.shape[0] == number
    ]  # fmt: skip
    transposed = _stack_is_transposed(module, [parameter for _, parameter in stacked], width)
    for short, parameter in stacked:
        full = f"{name}.{short}"
        for expert in range(number):
            yield Target(f"{full}[{expert}]", full, module, parameter, transposed, None, expert)


def _stack_is_transposed(module: nn.Module, stacked: Sequence[Tensor], width: int | None) -> bool:
    """True for (experts, in, out). transformers says so on most classes; else the first of several stacks takes the residual in."""
    declared = getattr(module, "is_transposed", None)
    if declared is not None:
        return bool(declared)
    hidden = getattr(module, "hidden_size", None) or getattr(module, "hidden_dim", None) or width
    _, second, third = stacked[0].shape
    return len(stacked) > 1 and second == hidden != third


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's `Conv1D`, whose weight is (in, out)."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def _inside(model: nn.Module) -> tuple[list[Target], set[int]]:
    """The matrices of the decoder blocks, and the modules (ids) among them that are left alone unless they are named."""
    config = _text_config(model)
    width = getattr(config, "hidden_size", None)
    found: list[Target] = []
    delicate: set[int] = set()
    before = 0
    for prefix, blocks in find_lists(model):
        mixtures = find_mixtures(blocks, config)
        delicate |= mixtures.routers | {id(module) for module in step_sizes(blocks)}
        candidates = _candidates(blocks, prefix, stacks=mixtures.stacks, width=width)
        found += [_in_block(target, prefix, before) for target in candidates]
        before += len(blocks)
    return _dedupe(found), delicate


def step_sizes(root: nn.Module) -> list[nn.Module]:
    """The projections that give the step size of a state-space layer: a few weights that decide how fast its memory fades."""
    return [
        child for module in root.modules() for name, child in module.named_children()
        if name == STEP_SIZE and any(part in _DECAY for part, _ in module.named_parameters(recurse=False))
    ]  # fmt: skip


def _around(outer: str, inner: str) -> bool:
    return inner.startswith(f"{outer}.")


def _holds_blocks(modules: nn.ModuleList) -> bool:
    """True where the modules are blocks of several matrices, and not a row of single layers."""
    numbers = [sum(1 for _ in _candidates(module, "")) for module in modules]
    return bool(numbers) and max(numbers) > 1


def _in_block(target: Target, prefix: str, before: int) -> Target:
    index = target.name[len(prefix) + 1 :].split(".")[0]
    return replace(target, block=before + int(index))


def _dedupe(targets: Iterable[Target]) -> list[Target]:
    """Each matrix once, under its first name, with the other modules of it as its twins."""
    seen: dict[tuple[int, int | None], Target] = {}
    for target in targets:
        key = (id(target.parameter), target.expert)
        first = seen.setdefault(key, target)
        if target.module is not first.module and target.module not in first.twins:
            seen[key] = replace(first, twins=(*first.twins, target.module))
    return list(seen.values())


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
    return _dedupe(target for target in _everything(model, inside) if target.name in wanted)


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
