"""What is known of a model whose weights are not here, or do not fit: its config, shapes on the meta device, a small model to time."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.loading import auto_class
from junkdna_harness.harness.tasks import find_tasks, leaves
from junkdna_harness.resources import free_memory
from junkdna_harness.sweep.estimate import count_items, model_weights
from junkdna_harness.sweep.plan import Plan
from junkdna_harness.sweep.session import CPU_BATCH_SIZE, SweepLM

NOT_READ = "taken from the plan, not read from the model"
MEMORY_SHARE = 0.5  # of what is free may hold a model that is loaded to be timed, in float32
FETCHED = 1e9  # weights at the most of a model that is fetched from the hub to be timed
TIMED_WIDTH = 1024  # of the small model that is timed: matrices as large as a core is fast with
ITEMS_A_TASK = 20  # of each task, whose tokens are counted where they stand for all


@dataclass(frozen=True)
class Known:
    """A model's `config`, in words where it is `from`, and whether its weights are here and small enough to be loaded."""

    name: str
    config: Any
    source: str
    loadable: bool
    contradictions: tuple[str, ...] = ()

    @property
    def read(self) -> bool:
        """True where the config is the checkpoint's own."""
        return self.source != NOT_READ


def know(name: str, architecture: Mapping[str, Any]) -> Known | None:
    """The model by its checkpoint where that can be read here, else by the plan's `architecture`; None where there is neither.

    Raises:
        UsageError: the architecture is none that transformers knows, or the checkpoint is damaged.
    """
    config, told = _read_config(name), of_architecture(architecture) if architecture else None
    if config is None:
        return None if told is None else Known(name, told, NOT_READ, False)
    size = model_weights(name)
    weights = number_of_weights(config) if size is None else size.weights
    fits = 4 * weights < MEMORY_SHARE * free_memory() and (size is not None or weights <= FETCHED)
    against = () if told is None else contradictions(config, told, architecture)
    return Known(name, config, "read from the model", fits, against)


def _read_config(name: str) -> Any:
    """The checkpoint's own config, of a folder or of the hub; None where the hub has none, or is not reached."""
    from transformers import AutoConfig

    source = resolve_pretrained(name)
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError):
        if Path(source).is_dir():
            raise UsageError(f"the config of {name!r} cannot be read. Get the checkpoint again.") from None
        return None


def of_architecture(architecture: Mapping[str, Any]) -> Any:
    """The config that a plan's `architecture` describes.

    Raises:
        UsageError: no `model_type`, or values that transformers refuses.
    """
    from transformers import AutoConfig

    values = copy.deepcopy(dict(architecture))  # transformers writes into what it is given
    kind = values.pop("model_type", None)
    if not isinstance(kind, str):
        raise UsageError(
            "architecture needs model_type, e.g. llama, beside the values of the model's config.json."
        )
    try:
        config = AutoConfig.for_model(kind, **values)
        skeleton(config)
    except Exception as error:  # configs are checked by many classes, each with errors of its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"architecture of {kind} cannot be used: {first}. Copy the values of the model's config.json."
        ) from error
    return config


def contradictions(config: Any, told: Any, architecture: Mapping[str, Any]) -> tuple[str, ...]:
    """What the plan says of the architecture, and the checkpoint says otherwise, in words."""
    found = []
    for name in architecture:
        mine, its = getattr(told, name, None), getattr(config, name, None)
        if mine != its:
            found.append(f"{name} is {its!r} in the checkpoint, and {mine!r} in the plan's architecture")
    return tuple(found)


def skeleton(config: Any) -> Any:
    """The model without weights."""
    with torch.device("meta"):
        return auto_class(config).from_config(config, dtype=torch.bfloat16, trust_remote_code=False)


def number_of_weights(config: Any) -> int:
    """Weights of the model of a config; such as are shared are counted once."""
    return sum(parameter.numel() for parameter in skeleton(config).parameters())


def small(config: Any) -> Any:
    """A random model of the architecture that is small enough to be timed: one block, a width of `TIMED_WIDTH`, few tokens."""
    made = copy.deepcopy(config)
    text = made.get_text_config()
    share = TIMED_WIDTH / text.hidden_size
    if share < 1:
        heads = max(1, round(text.num_attention_heads * share))
        keys = getattr(text, "num_key_value_heads", None) or heads
        inner = int(text.intermediate_size * share) // 8 * 8
        text.hidden_size, text.intermediate_size, text.num_attention_heads = TIMED_WIDTH, inner, heads
        text.num_key_value_heads = next(n for n in range(min(keys, heads), 0, -1) if heads % n == 0)
        text.head_dim = TIMED_WIDTH // heads
    text.num_hidden_layers, text.vocab_size = 1, min(text.vocab_size, 4096)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(text, name, None)
    return auto_class(made).from_config(made, dtype=torch.float32, trust_remote_code=False).eval()


def asker(known: Known) -> Any:
    """The small model as a sweep holds its own, with the model's tokenizer where that can be read, else the embedded models': what asks for
    requests and tokens, and is never asked itself."""
    from transformers import AutoTokenizer

    source = resolve_pretrained(known.name if known.read else EMBEDDED)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    with _quiet():
        return SweepLM(pretrained=small(known.config), tokenizer=tokenizer, batch_size=CPU_BATCH_SIZE)


def part_of(grid: Plan, missing: Collection[str] = ()) -> tuple[Plan, int]:
    """The plan with a few items of each task that is not `missing`, and the items of one run of the whole plan."""
    settings = grid.settings
    manager, names = find_tasks(settings.tasks, settings.include_path, grid.metadata(0))
    tasks = tuple(name for name in leaves(manager, names) if name not in missing)
    limit = ITEMS_A_TASK if settings.limit is None else min(settings.limit, ITEMS_A_TASK)
    return replace(grid, settings=replace(settings, tasks=tasks, limit=limit)), count_items(grid)


@contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval warns of a model that was given, not named."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
