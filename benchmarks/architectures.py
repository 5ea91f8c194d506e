"""Every architecture of the installed transformers, tiny and random: compressed, written, read again, inspected and scored.

    python benchmarks/architectures.py                          # all, some minutes on two cores; one table
    python benchmarks/architectures.py --only mamba gpt_oss     # these kinds of model
    python benchmarks/architectures.py --images                 # kinds of images and text that have no causal class
    python benchmarks/architectures.py --json table.json        # the same as JSON, too; kinds that are in it already are not run again

A cell is `ok`, `refused` (with the sentence, below the table), `FAIL`, or `untried` where no tiny model could be made. What is checked is in `STEPS`; `left` is the share of the
weights outside embeddings, head and towers that no method reaches.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from tiny_configs import kinds, kinds_with_images, tiny_config, tiny_tokenizer
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.checkpoint import inspect_checkpoint, save_checkpoint
from junkdna_harness.compress.loading import Source, auto_class, load
from junkdna_harness.compress.pruning import prune
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.quantizing import quantize
from junkdna_harness.compress.report import CompressionReport
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.targets import Target, find_targets

LOOK: dict[str, Any] = {"calibration": "graded", "nsamples": 4, "seqlen": 32}
SPECS: dict[str, PruneSpec | QuantSpec] = {
    "magnitude": PruneSpec(sparsity=0.5),
    "wanda": PruneSpec(method="wanda", sparsity=0.5, **LOOK),
    "sparsegpt": PruneSpec(method="sparsegpt", sparsity=0.5, **LOOK),
    "rtn": QuantSpec(method="rtn", bits=4, group_size=-1),
    "gptq": QuantSpec(method="gptq", bits=4, group_size=-1, **LOOK),
}
STEPS = ("targets", *SPECS, "score")
OK, REFUSED, FAIL = "ok", "refused", "FAIL"
UNTRIED = "untried"  # no tiny model could be made: a config that the table of `tiny_configs.py` does not know, or a package that is not there
TEXTS = [("one two three", " four"), ("one two three", " fi"), ("abc", "defgh ijkl")]


@dataclass
class Row:
    """What became of one kind of model: a word for each step, and the sentences of what did not go well."""

    kind: str
    cells: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    left: float = 0.0

    @property
    def state(self) -> str:
        """The worst of its cells."""
        return next((word for word in (FAIL, REFUSED, UNTRIED) if word in self.cells.values()), OK)


class Wrong(Exception):
    """A result that is not what it should be."""


def check(kind: str) -> Row:
    """All steps for one kind of model; what goes wrong in one does not stop the next."""
    row = Row(kind)
    folder = Path(tempfile.mkdtemp(prefix="architectures-"))
    try:
        try:
            model = make(kind)
            model.save_pretrained(folder / "dense")
            tiny_tokenizer().save_pretrained(folder / "dense")
        except (
            Exception
        ) as error:  # a kind for which the config's table has no entry yet, or which lacks a package
            row.cells, row.said = (
                {"model": UNTRIED},
                {"model": f"no tiny model could be made: {_first(error)}"},
            )
            return row
        _do(row, "targets", lambda: check_targets(model, row))
        for name, spec in SPECS.items():
            _do(row, name, lambda name=name, spec=spec: check_method(folder, name, spec))  # type: ignore[misc]
        _do(
            row,
            "score",
            lambda: check_scores(
                folder / "magnitude" if (folder / "magnitude").is_dir() else folder / "dense"
            ),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return row


def make(kind: str) -> Any:
    """A random model of `kind`, whose weights are wide enough that its layers do something.

    Where a kind has a class for images and text that takes bare tokens it is that one; else its causal class.
    """
    from transformers.models.auto import modeling_auto

    seeing = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind)
    if seeing is not None:
        with suppress(Exception):
            return _make(kind, [seeing])
    return _make(kind, None)


def _make(kind: str, architectures: list[str] | None) -> Any:
    config = tiny_config(kind)
    config.architectures = architectures
    torch.manual_seed(0)
    model = auto_class(config).from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.1)
            parameter.nan_to_num_()  # some classes leave memory as they find it
        logits = model(input_ids=_ids()).logits
    if not bool(torch.isfinite(logits).all()):
        raise Wrong("its logits are not finite")
    return model


def check_targets(model: Any, row: Row) -> None:
    """No layer whose output chooses experts is a target, and every stack of experts is one."""
    targets = find_targets(model)
    row.left = _left(model, targets)
    chosen = choosing_layers(model) & {id(target.parameter) for target in targets}
    if chosen:
        raise Wrong(
            f"targets choose experts: {', '.join(t.name for t in targets if id(t.parameter) in chosen)}"
        )


def check_method(folder: Path, name: str, spec: PruneSpec | QuantSpec) -> None:
    """Compressed as asked, written, and read again as the same model."""
    model, tokenizer = load(Source(str(folder / "dense"), device="cpu"))
    before = [t.weight.clone() for t in find_targets(model)]
    report: CompressionReport
    if isinstance(spec, PruneSpec):
        report = prune(model, spec, tokenizer)
        _zeros(find_targets(model))
    else:
        report = quantize(model, spec, tokenizer)
        if not any(
            not torch.equal(t.weight, old) for t, old in zip(find_targets(model), before, strict=True)
        ):
            raise Wrong("nothing was rounded")
    unseen = [w for w in report.warnings if "saw no calibration token" in w and " layers " in w]
    if unseen and (used := [t.name for t in _used(model) if t.name in unseen[0]]):
        raise Wrong(f"{unseen[0]}, though the model uses {used[0]}")
    save_checkpoint(model, tokenizer, report, folder / name)
    again, _ = load(Source(str(folder / name), device="cpu"))
    if not inspect_checkpoint(folder / name).intact:
        raise Wrong("inspect finds tensors that are not those of the manifest")
    with torch.no_grad():
        one, other = model(input_ids=_ids()).logits, again(input_ids=_ids()).logits
    if not torch.allclose(one, other, 1e-4, 1e-4, equal_nan=True):
        raise Wrong(f"read again it gives other logits (by {float((one - other).abs().max()):.2g})")


def check_scores(folder: Path) -> None:
    """Log-likelihoods through the wrapper are those of a plain forward pass."""
    from lm_eval.api.instance import Instance

    from junkdna_harness.models.pruned import PrunedLM

    lm = PrunedLM(pretrained=str(folder), method="none", device="cpu", batch_size=1, dtype="float32")
    asked = [Instance("loglikelihood", {}, pair, 0, ("task", i, 1)) for i, pair in enumerate(TEXTS)]
    answers = lm.loglikelihood(asked, disable_tqdm=True)
    for (context, continuation), (given, _) in zip(TEXTS, answers, strict=True):
        whole, start = (
            lm.tokenizer(context + continuation)["input_ids"],
            len(lm.tokenizer(context)["input_ids"]),
        )
        with torch.no_grad():
            logits = lm.model(input_ids=torch.tensor([whole[:-1]])).logits[0].float().log_softmax(-1)
        expected = sum(float(logits[i - 1, whole[i]]) for i in range(start, len(whole)))
        if not math.isclose(given, expected, rel_tol=1e-3, abs_tol=1e-3):
            raise Wrong(f"{continuation!r} scores {given:.5f}, {expected:.5f} by a plain forward pass")


def choosing_layers(model: Any) -> set[int]:
    """The matrices (ids of parameters) whose output is what experts are chosen by, seen in a forward pass."""
    from choosing import Choosing

    numbers = {
        m
        for t in find_targets(model)
        if t.expert is not None
        for m in (t.parameter.shape[0], t.parameter.shape[0] + 1)
    }
    seen = Choosing(model, numbers)
    with seen, torch.no_grad():
        model(input_ids=_ids())
    return seen.found


def _left(model: nn.Module, targets: list[Target]) -> float:
    """The share of the matrices outside embeddings, head and towers that is no target."""
    from junkdna_harness.compress.checks import shares_unreached

    return sum(shares_unreached(model, targets).values())


def _used(model: nn.Module) -> list[Target]:
    """The plain layers that a forward pass calls."""
    called: set[int] = set()
    layers = [target for target in find_targets(model) if target.expert is None]
    handles = [
        module.register_forward_pre_hook(lambda _, __, target=target: called.add(id(target)))
        for target in layers
        for module in (target.module, *target.twins)
    ]
    with torch.no_grad():
        model(input_ids=_ids())
    for handle in handles:
        handle.remove()
    return [target for target in layers if id(target) in called]


def _zeros(targets: Iterable[Target]) -> None:
    for target in targets:
        share = float((target.weight == 0).float().mean())
        if abs(share - 0.5) > 0.5 / min(target.shape) + 0.05:
            raise Wrong(f"{target.name} has {share:.2f} zeros")


def _do(row: Row, step: str, run: Callable[[], None]) -> None:
    try:
        run()
        row.cells[step] = OK
    except UsageError as error:
        row.cells[step], row.said[step] = REFUSED, str(error)
    except SystemExit as error:
        row.cells[step], row.said[step] = REFUSED, str(error)
    except Exception as error:
        row.cells[step], row.said[step] = FAIL, _first(error)


def _first(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, Wrong) else f" ({Path(last.filename).name}:{last.lineno})"
    return f"{'' if isinstance(error, Wrong) else type(error).__name__ + ': '}{line}{where}"


def _ids() -> Tensor:
    return torch.arange(5, 5 + 24)[None]


def check_all(names: list[str], workers: int) -> Iterator[Row]:
    """A row for each name, as they are finished; a process that dies costs one row."""
    if workers < 2:
        yield from map(check, names)
        return
    waiting = list(names)
    while waiting:
        with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_quiet) as pool:
            futures = [(name, pool.submit(check, name)) for name in waiting]
            waiting = []
            died = False
            for name, future in futures:
                try:
                    yield future.result()
                except BrokenProcessPool:
                    if not died:
                        died = True
                        yield Row(name, {"model": FAIL}, {"model": "the process died"})
                    else:
                        waiting.append(name)


def _quiet() -> None:
    import logging
    import warnings

    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    sys.stderr = io.StringIO()  # what the wrappers say of each model


def markdown(rows: list[Row]) -> str:
    """The table, the totals, and the sentences."""
    lines = [f"| kind | {' | '.join(STEPS)} | left |", f"| --- |{' --- |' * (len(STEPS) + 1)}"]
    for row in rows:
        cells = [row.cells.get(step, row.cells.get("model", "")) for step in STEPS]
        lines.append(f"| {row.kind} | {' | '.join(cells)} | {row.left:.0%} |")
    totals = []
    for step in STEPS:
        counted = Counter(row.cells.get(step, row.cells.get("model", "")) for row in rows)
        totals.append(f"{step} {', '.join(f'{n} {word}' for word, n in sorted(counted.items()))}")
    lines += ["", f"{len(rows)} kinds: {'; '.join(totals)}.", ""]
    for row in rows:
        for step, sentence in row.said.items():
            lines.append(f"- {row.kind}, {step}: {row.cells[step]}: {sentence}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="kinds of model, as config.json has them (model_type)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there, after each; those there already stay"
    )
    parser.add_argument(
        "--images", action="store_true", help="kinds of images and text that have no causal class, instead"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    names = options.only or list(kinds_with_images() if options.images else kinds())
    if unknown := sorted(set(names) - {*kinds(), *kinds_with_images()}):
        sys.exit(f"architectures.py: {', '.join(unknown)} is no kind of model in this transformers.")
    known = {row["kind"]: Row(**row) for row in _read(options.json)}
    if options.workers < 2:
        _quiet()
    for row in check_all([name for name in names if name not in known], options.workers):
        known[row.kind] = row
        if options.json:
            options.json.write_text(json.dumps([asdict(one) for one in known.values()], indent=1) + "\n")
    rows = [known[name] for name in names]
    print(markdown(rows))
    sys.exit(any(row.state == FAIL for row in rows))


def _read(file: Path | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text()) if file is not None and file.is_file() else []
    return found


if __name__ == "__main__":
    main()
