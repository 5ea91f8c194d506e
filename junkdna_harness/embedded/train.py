"""Train the embedded model: `python -m junkdna_harness.embedded.train --output DIR`.

A Llama of 1.3 M parameters learns the graded suite character by character. Only answers carry loss; several
examples share a row and do not see each other. Seeded, and resumable: every step's examples follow from the seed
and the step's number, and a checkpoint holds the rest. The suite and the model are chosen by dense accuracy
alone, never by how they behave when pruned.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from junkdna_harness.embedded import SUITE_MARK
from junkdna_harness.embedded.mixture import Batch, Mixture, pack
from junkdna_harness.embedded.muon import Muon
from junkdna_harness.embedded.tokenizer import MAX_LENGTH, VOCABULARY, build_tokenizer

CHECKPOINT = "checkpoint.pt"
LOG = "train_log.jsonl"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    steps: int = 4500
    rows: int = 24
    length: int = 96
    warmup: int = 100
    lr: float = 2e-3
    cooldown: float = 0.35  # the last part of the steps, in which the rate falls linearly to zero
    seed: int = 1


def build_model(seed: int) -> Any:
    """A `LlamaForCausalLM`: 4 layers, width 160, 5 heads; fp32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
        **{SUITE_MARK: 1},
    )
    return LlamaForCausalLM(config)


def rate(step: int, recipe: Recipe) -> float:
    """Factor of the learning rate: warm-up, constant, linear cool-down."""
    falling = recipe.steps * recipe.cooldown
    return min((step + 1) / recipe.warmup, 1.0, max((recipe.steps - step) / falling, 0.0))


def forward(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Loss over answer characters, and `wrong` (rows, length - 1): 1 where an answer character is not the argmax."""
    tokens = torch.from_numpy(batch.tokens)
    example = torch.from_numpy(batch.example)
    same = example[:, :, None] == example[:, None, :]
    causal = torch.ones(same.shape[1:], dtype=torch.bool).tril()
    mask = torch.zeros(same.shape).masked_fill(~(same & causal), torch.finfo(torch.float32).min)
    logits = model(input_ids=tokens, attention_mask=mask[:, None], use_cache=False).logits[:, :-1]
    is_answer = torch.from_numpy(batch.is_answer)[:, 1:]
    target = tokens[:, 1:]
    loss = nn.functional.cross_entropy(logits[is_answer], target[is_answer])
    return loss, (logits.argmax(-1) != target) & is_answer


def misses(batch: Batch, wrong: Tensor) -> dict[str, list[int]]:
    """By "family/tier": 1 for each example with a wrong character, else 0."""
    found: dict[str, list[int]] = {}
    example = torch.from_numpy(batch.example)[:, 1:]
    for row, keys in enumerate(batch.keys):
        bad = set(example[row][wrong[row]].tolist())
        for number, key in enumerate(keys, start=1):
            found.setdefault(key, []).append(int(number in bad))
    return found


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


def train(recipe: Recipe, folder: Path, every: int = 100) -> None:
    """Train to the end of the recipe, from `folder`'s checkpoint if there is one, and write the model there."""
    folder.mkdir(parents=True, exist_ok=True)
    model, mixture, start, spent = build_model(recipe.seed), Mixture(), 0, 0.0
    optims = optimizers(model, recipe)
    if (folder / CHECKPOINT).exists():
        saved = torch.load(folder / CHECKPOINT, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optims, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        mixture, start, spent = Mixture(saved["error"]), saved["step"], saved["seconds"]
    clock = time.perf_counter()
    for step in range(start, recipe.steps):
        batch = pack(mixture, random.Random(f"{recipe.seed}/{step}"), recipe.rows, recipe.length)
        loss, wrong = forward(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optims:
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * rate(step, recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mixture.update(misses(batch, wrong))
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            seconds = spent + time.perf_counter() - clock
            record = {"step": step + 1, "loss": round(loss.item(), 4), "seconds": round(seconds)}
            record["error"] = {key: round(value, 3) for key, value in mixture.error.items()}  # type: ignore[assignment]
            with (folder / LOG).open("a") as log:
                log.write(json.dumps(record) + "\n")
            print(step + 1, f"loss {loss.item():.4f}", f"{seconds:.0f} s", flush=True)
            states = [optimizer.state_dict() for optimizer in optims]
            save_checkpoint(
                folder,
                {
                    "model": model.state_dict(),
                    "optimizers": states,
                    "error": mixture.error,
                    "step": step + 1,
                    "seconds": seconds,
                },
            )
    model.save_pretrained(folder / "model")
    build_tokenizer().save_pretrained(folder / "model")
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")


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
