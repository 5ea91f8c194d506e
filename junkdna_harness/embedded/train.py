"""Train an embedded model: `python -m junkdna_harness.embedded.train --output DIR --seed N`.

A Llama of 1.1 M parameters learns the graded suite. Answers carry the loss, and a few tokens of the prompts; several
examples share a row and do not see each other. Seeded, and resumable: every step's examples follow from the seed
and the step's number, and a checkpoint holds the rest. The suite and the models are chosen by dense accuracy
alone, never by how they behave when pruned.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from junkdna_harness.embedded import SEED_MARK, SUITE, SUITE_MARK
from junkdna_harness.embedded.forward import forward, misses
from junkdna_harness.embedded.mixture import Mixture, pack
from junkdna_harness.embedded.muon import Muon
from junkdna_harness.embedded.tokenizer import MAX_LENGTH, Encoder, build_tokenizer

CHECKPOINT = "checkpoint.pt"
LOG = "train_log.jsonl"
LIKENESS = 3.0  # factor of the queries' small random weights
PASSED_ON = 0.7  # share of itself that a token adds where it looks
COMMON = 0.7  # what all embeddings have in common, as a share of what they have of their own
FAST, SHARPNESS = 4, 6.0  # rotations that place the token before, and how much each prefers it
BEFORE = 3.0  # share of the token before that a token takes on
FINDERS, ALIKE, FOUND = (
    2,
    1.5,
    4.0,
)  # heads of the second layer that look for it, their factor, and what they pass on


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, on one machine."""

    steps: int = 3000
    rows: int = 16
    length: int = 128
    width: int = 128
    layers: int = 4
    warmup: int = 200
    lr: float = 2e-3
    cooldown: float = 0.4  # the last part of the steps, in which the rate falls linearly to zero
    dtype: str = "bfloat16"  # of products; weights and their updates are float32
    seed: int = 1


def build_model(recipe: Recipe, tokenizer: Any) -> Any:
    """A `LlamaForCausalLM` with heads of 32, fp32; embeddings and head are one matrix."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 8 // 3 // 32 * 32,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.width // 32,
        num_key_value_heads=recipe.width // 32,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{SUITE_MARK: SUITE, SEED_MARK: recipe.seed},
    )
    model = LlamaForCausalLM(config)
    _start_looking_back(model)
    return model


@torch.no_grad()
def _start_looking_back(model: Any) -> None:
    """Begin where attention already copies: training then takes some hundred steps to use it, and not some thousand to find it.

    Queries and keys are alike and outputs the transpose of values, so that a token looks for its like and passes on what it
    is (mimetic initialization, Trockman and Kolter 2023, arXiv 2305.09828). One head of the first layer looks at the token
    before, and heads of the second at what came after their like (induction, Olsson et al. 2022, arXiv 2209.11895).
    """
    embeddings, width = model.model.embed_tokens.weight, model.config.hidden_size
    common = nn.functional.normalize(torch.randn(width), dim=0)
    own = float(embeddings.norm(dim=1).mean())
    embeddings.add_(COMMON * own * common)
    shrunk = (
        own * (1 + COMMON**2) ** 0.5 / width**0.5
    )  # an embedding, as a share of what the first norm makes of it
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_proj.weight.mul_(LIKENESS)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
        nn.init.orthogonal_(attention.v_proj.weight)
        attention.o_proj.weight.copy_(PASSED_ON * shrunk * attention.v_proj.weight.T)
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    _look_at_the_token_before(first, model.config, common)
    _look_behind_the_like(first, second, model.config.head_dim, common, shrunk)


def _look_at_the_token_before(attention: Any, config: Any, common: Tensor) -> None:
    """Head 0 makes a query and a key of the direction that all embeddings have in common, which agree one apart."""
    half = config.head_dim // 2
    angle = 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(half) / half)
    used = (torch.arange(half) < FAST).float()  # slow rotations do not tell neighbours apart
    seen = COMMON / (1 + COMMON**2) ** 0.5 * config.hidden_size**0.5  # of it, behind the norm
    strength = (SHARPNESS * config.head_dim**0.5) ** 0.5 / seen
    query = strength * torch.cat([used * angle.cos(), -used * angle.sin()])
    key = strength * torch.cat([used, torch.zeros(half)])
    for weight, vector in ((attention.q_proj.weight, query), (attention.k_proj.weight, key)):
        # Rows that are zero in both would stay so: neither has a gradient without the other.
        weight[: config.head_dim].normal_(0, config.initializer_range).add_(vector[:, None] * common)


def _look_behind_the_like(first: Any, second: Any, size: int, common: Tensor, shrunk: float) -> None:
    """What came before lies in other directions than what is here, so that the two are not taken for each other."""
    here, before = first.v_proj.weight[:size], first.v_proj.weight[size : 2 * size]
    first.o_proj.weight[:, :size] = BEFORE * shrunk * before.T
    for head in range(FINDERS):
        rows = slice(head * size, (head + 1) * size)
        second.q_proj.weight[rows] = ALIKE * (here - (here @ common)[:, None] * common)
        second.k_proj.weight[rows] = ALIKE * (before - (before @ common)[:, None] * common)
        second.o_proj.weight[:, rows] *= FOUND / PASSED_ON


def rate(step: int, recipe: Recipe) -> float:
    """Factor of the learning rate: warm-up, constant, linear cool-down."""
    falling = recipe.steps * recipe.cooldown
    return min((step + 1) / recipe.warmup, 1.0, max((recipe.steps - step) / falling, 0.0))


def optimizers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for embeddings, head and norms."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    return [
        Muon(matrices, lr=recipe.lr, weight_decay=0.01),
        torch.optim.AdamW(others, lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint beside its place, then move it."""
    temporary = folder / (CHECKPOINT + ".partial")
    torch.save(state, temporary)
    os.replace(temporary, folder / CHECKPOINT)


def train(recipe: Recipe, folder: Path, every: int = 100, tokenizer: Any = None) -> None:
    """Train to the end of the recipe, from `folder`'s checkpoint if there is one, and write the model there."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer() if tokenizer is None else tokenizer
    model, mixture, encode = build_model(recipe, tokenizer), Mixture(), Encoder(tokenizer)
    optims = optimizers(model, recipe)
    start, spent = 0, 0.0
    if (folder / CHECKPOINT).exists():
        saved = torch.load(folder / CHECKPOINT, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optims, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        mixture, start, spent = Mixture(saved["error"]), saved["step"], saved["seconds"]
    clock = time.perf_counter()
    for step in range(start, recipe.steps):
        loss = train_step(model, optims, mixture, recipe, step, encode)
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            seconds = spent + time.perf_counter() - clock
            _log(folder, step + 1, loss, seconds, mixture)
            state = {
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optims],
                "error": mixture.error,
                "step": step + 1,
                "seconds": seconds,
            }
            save_checkpoint(folder, state)
    save(model, tokenizer, recipe, folder)


def train_step(
    model: Any,
    optims: list[torch.optim.Optimizer],
    mixture: Mixture,
    recipe: Recipe,
    step: int,
    encode: Encoder,
) -> float:
    """One update; the mean loss of a token that carries loss."""
    rng = random.Random(f"{recipe.seed}/{step}")
    batches = pack(mixture, rng, encode, recipe.rows, recipe.length)
    total, wrong = sum(float(batch.weight.sum()) for batch in batches), dict[str, list[int]]()
    mean = 0.0
    for batch in batches:
        loss, preferred = forward(model, batch, getattr(torch, recipe.dtype))
        (loss / total).backward()  # type: ignore[no-untyped-call]
        mean += loss.item() / total
        for key, outcomes in misses(batch, preferred).items():
            wrong.setdefault(key, []).extend(outcomes)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optims:
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate(step, recipe)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    mixture.update(wrong)
    return mean


def _log(folder: Path, step: int, loss: float, seconds: float, mixture: Mixture) -> None:
    record = {"step": step, "loss": round(loss, 4), "seconds": round(seconds)}
    error = {key: round(value, 3) for key, value in mixture.error.items()}
    with (folder / LOG).open("a") as log:
        log.write(json.dumps({**record, "error": error}) + "\n")
    by_family: dict[str, list[str]] = {}
    for key, value in error.items():
        by_family.setdefault(key.split("/")[0], []).append(f"{value:.2f}")
    print(
        step,
        f"loss {loss:.4f}",
        f"{seconds:.0f} s",
        *(f"{k} {' '.join(v)}" for k, v in by_family.items()),
        sep="  ",
        flush=True,
    )


def save(model: Any, tokenizer: Any, recipe: Recipe, folder: Path) -> None:
    """The model's folder, with recipe and log. Weights lie there in 16 bits, and are computed with in 32, as the configuration says."""
    model.half().save_pretrained(folder / "model")
    path = folder / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n")
    tokenizer.save_pretrained(folder / "model")
    (folder / "model" / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    shutil.copy(folder / LOG, folder / "model" / LOG)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoint, log and model")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0 leaves torch's choice")
    given = vars(parser.parse_args())
    output, threads = given.pop("output"), given.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    train(Recipe(**given), output)


if __name__ == "__main__":
    main()
