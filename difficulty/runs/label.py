"""A label settles which run a log is of, where nothing that can be read says so: a small file beside the log, or an option."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.json_files import of_known_shape, text_of
from difficulty.runs.checkpoint import read_object
from difficulty.runs.identity import DENSE, Method, Run

KIND = "junkdna-label"
SCHEMA = 1
NOISE_FLOOR_SCHEMA = 2  # of a label that an older version would take for the dense run


@dataclass(frozen=True)
class Label:
    """What a person says was done to the model: `method`, `level`, `bits`, and the `model` it was made from (None: as logged)."""

    method: Method
    level: float | None = None
    bits: float | None = None
    model: str | None = None
    replicate: int = 0
    noise_floor: bool = False

    def __post_init__(self) -> None:
        if self.level is not None and not 0 <= self.level < 1:
            raise UsageError(
                f"sparsity {self.level:g} is not in [0, 1): it is the fraction of weights that is zero."
            )
        if self.bits is not None and not 0 < self.bits <= 32:
            raise UsageError(
                f"bits {self.bits:g} is no width of a weight. Give a number above 0 and at most 32."
            )
        if self.method != Method(DENSE) and self.level is None and self.bits is None:
            raise UsageError(
                f"method {str(self.method)!r} needs a level: give the sparsity or the bits, e.g. --sparsity 0.5 or --bits 4."
            )
        if self.method == Method(DENSE) and (self.level or self.bits is not None):
            raise UsageError(
                "a dense model has neither sparsity nor bits. Leave them out, or name the method."
            )
        if self.noise_floor and self.method != Method(DENSE):
            raise UsageError(
                f"a noise floor is a second evaluation of the dense model, and method {str(self.method)!r} is not dense."
            )

    def run(self, model: str) -> Run:
        """The run of a log whose own name for the model is `model`."""
        return Run(
            self.model or model,
            self.method,
            self.level,
            self.bits,
            self.replicate,
            "label",
            noise_floor=self.noise_floor,
        )


def label_file(results: Path) -> Path:
    """Where the label of a results file stands."""
    return results.with_name(f"label_{results.name.removeprefix('results_').removesuffix('.gz')}")


def read_label(results: Path) -> Label | None:
    """The label beside a results file; None where there is none.

    Raises:
        UsageError: it is damaged.
    """
    path = label_file(results)
    if not path.is_file():
        return None
    found = read_object(path)
    with of_known_shape(path, "the label", "Write it again with junkdna label."):
        if found["kind"] != KIND or found["schema"] not in (SCHEMA, NOISE_FLOOR_SCHEMA):
            raise ValueError(f"kind {found['kind']!r}, schema {found['schema']!r}")
        level, bits = found.get("level"), found.get("bits")
        return Label(
            Method.parse(text_of(found, "method")),
            None if level is None else float(level),
            None if bits is None else float(bits),
            None if found.get("model") is None else text_of(found, "model"),
            int(found.get("replicate") or 0),
            found.get("noise_floor") is True,
        )


def write_label(results: Path, label: Label) -> Path:
    """The file written beside `results`.

    Raises:
        UsageError: it cannot be written.
    """
    path = label_file(results)
    values: Mapping[str, object] = {
        "kind": KIND, "schema": NOISE_FLOOR_SCHEMA if label.noise_floor else SCHEMA, "method": str(label.method),
        "level": label.level, "bits": label.bits, "model": label.model, "replicate": label.replicate,
        **({"noise_floor": True} if label.noise_floor else {}),
    }  # fmt: skip
    write_atomic(path, json.dumps(values, indent=1) + "\n")
    return path


def parse_labels(given: Sequence[str]) -> dict[Path, Label]:
    """`--label FOLDER=METHOD LEVEL`, e.g. `runs/a=wanda 0.5`, `runs/b=rtn 4 bits`, `runs/c=dense`.

    Raises:
        UsageError: one is not of that form, or its folder is not there.
    """
    found: dict[Path, Label] = {}
    for text in given:
        name, equals, said = text.rpartition("=")
        if not equals or not name.strip() or not said.strip():
            raise UsageError(
                f"--label {text!r} is not FOLDER=METHOD LEVEL. Write e.g. --label 'runs/a=wanda 0.5', 'runs/b=rtn 4 bits' or "
                "'runs/c=dense'."
            )
        path = Path(name.strip())
        if not path.exists():
            raise UsageError(
                f"--label {text!r}: there is no {str(path)!r}. Name the folder or results file of a run."
            )
        run = Run.parse(f"x {said.strip()}")
        level = 0.0 if run.is_dense else run.level
        if run.model != "x":
            raise UsageError(
                f"--label {text!r}: {said.strip()!r} is not METHOD LEVEL. A method's name is one word."
            )
        label = Label(run.method, level, run.bits, None, run.replicate, run.noise_floor)
        if found.setdefault(path.absolute(), label) != label:
            raise UsageError(f"--label says two things of {str(path)!r}. Give one of them.")
    return found


def label_of(results: Path, given: Mapping[Path, Label]) -> Label | None:
    """The label of a results file: from the option, where its file or a folder above it was named, else beside it."""
    place = results.absolute()
    for path in (place, *place.parents):
        if path in given:
            return given[path]
    return read_label(results)
