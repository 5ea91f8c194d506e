"""Which runs are further draws of one thing: the same in all but a seed, of a mask, a calibration sample or a training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from difficulty.runs.identity import Run
from difficulty.runs.part import Part

NUMBERED = ("store", "table")  # whose runs bring the number of their draw
_SEEDED = re.compile(r"(.+):\d+")  # a model that was trained again with another seed, e.g. embedded:1


def trained_from(model: str) -> str:
    """The name of a model without the seed of its training.

    >>> trained_from("embedded:1")
    'embedded'
    """
    seeded = _SEEDED.fullmatch(model)
    return seeded[1] if seeded else model


def trainings(models: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Name -> the models that are trainings of it, in their order: NAME itself and NAME:1, NAME:2, ... Each model is in one.

    >>> trainings(["embedded", "embedded:1", "llama"])
    {'embedded': ('embedded', 'embedded:1'), 'llama': ('llama',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in models:
        base = trained_from(name)
        found[base] = (*found.get(base, ()), name)
    return {base if len(names) > 1 else names[0]: names for base, names in found.items()}


def draw_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The seed of the mask or the calibration sample, then those of the trainings, the last one first; as they sort."""
    seeds = [manifest.get("seed")]
    training = manifest.get("recovery")
    while isinstance(training, Mapping):
        seeds.append(training.get("seed"))
        training = training.get("before")
    return tuple(str(seed).zfill(12) for seed in seeds)


def numbered(parts: Sequence[Part]) -> list[Part]:
    """Runs that differ in their seeds alone are replicates of one draw, numbered by seed. Every row gets its run's name.

    Trainings of one model that share a seed share the number, whatever the arm, so that a training and its dense control can
    be paired.
    """
    numbers: dict[int, int] = {}
    for group in _by_run(parts).values():
        if len(group) > 1:
            ranked = sorted(group, key=lambda part: draw_of(part.manifest))
            numbers |= {id(part): number for number, part in enumerate(ranked)}
    numbers |= _of_trainings(parts)
    return [
        part.named(replace(part.run, replicate=numbers.get(id(part), part.run.replicate))) for part in parts
    ]


def same_weights(parts: Iterable[Part]) -> list[str]:
    """A sentence for each two replicates that have the same weights, and so are no two draws."""
    seen: dict[tuple[Run, object], Run] = {}
    found = []
    for part in parts:
        weights = part.facts.get("weights_sha256")
        if not isinstance(weights, str) or not weights:
            continue
        first = seen.setdefault((replace(part.run, replicate=0), weights), part.run)
        if first != part.run:
            found.append(
                f"{str(first)!r} and {str(part.run)!r} are replicates by name and have the same weights: their seed changed nothing, "
                "so that they agree says nothing of the spread of draws. Leave one of them out."
            )
    return found


def _by_run(parts: Iterable[Part]) -> dict[Run, list[Part]]:
    groups: dict[Run, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.run, []).append(part)
    return groups


def _of_trainings(parts: Sequence[Part]) -> dict[int, int]:
    """id of part -> number, of the trained models in logs, by the seed of the last training; where that tells them apart."""
    trained: dict[str, list[Part]] = {}
    for part in parts:
        run = part.run
        logged = run.kind == "recovered" and run.replicate == 0 and run.known_by not in NUMBERED
        if logged and len(draw_of(part.manifest)) > 1:
            trained.setdefault(run.model, []).append(part)
    found: dict[int, int] = {}
    for listed in trained.values():
        groups = _by_run(listed).values()
        if all(len(group) == 1 for group in groups):
            continue
        seeds = sorted({draw_of(part.manifest)[1] for part in listed})
        for group in groups:
            own = [seeds.index(draw_of(part.manifest)[1]) for part in group]
            if len(set(own)) == len(own):
                found |= {id(part): number for part, number in zip(group, own, strict=True)}
    return found
