"""Tiers of a text's tokens by another model's loss, and which model that was, so that none is judged by its own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED, NONE
from difficulty.runs.identity import DENSE, Method, Run
from difficulty.runs.provenance import Maker
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.border import TaskRefused
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.manifest import manifest_folder
from junkdna_harness.compress.origin import Origin
from junkdna_harness.device import default_device
from junkdna_harness.models.given import GivenLM
from junkdna_harness.models.token_scores import check_tokens, usual_together
from junkdna_harness.texts.known import known
from junkdna_harness.texts.scoring import NAN, logits_of, score_windows
from junkdna_harness.texts.tiers import quarters
from junkdna_harness.texts.tokens import TokenizedText
from junkdna_harness.texts.windows import Ints


def surprisal(text: TokenizedText, by: object, arguments: Mapping[str, Any]) -> tuple[Ints, Maker]:
    """Tier of each token, shape (n,): the quarter of the loss of the model `by`; and who made the tiers.

    `arguments` are those of the model that is judged.

    Raises:
        UsageError: no model is named, it is the judged one or a state of it, cannot be loaded, or has other tokens.
    """
    if by is None or by is True or not str(by).strip():
        raise UsageError(
            "tiers by surprisal are another model's. Name it: junkdna sweep --surprisal-from MODEL, or lm_eval --metadata "
            '\'{"text": "FILE", "surprisal_from": "MODEL"}\'.'
        )
    judged = str(arguments.get("pretrained") or EMBEDDED)
    device = str(arguments.get("device") or default_device())
    loss, maker = _losses(str(by), text.sha256, device)
    if resolve_pretrained(maker.run.model) == resolve_pretrained(judged) or _root(judged) == maker.run.model:
        raise UsageError(
            f"surprisal_from={str(by)!r} is the model that is judged, or a state of it, and tiers of its own scores hold its luck. Name "
            "another model with the same tokenizer."
        )
    return quarters(loss), maker


def _root(name: str) -> str:
    """The model that a checkpoint says it was made from; the name itself where it says nothing."""
    folder = manifest_folder(name, None)
    origin = None if folder is None else Origin.read(folder)
    return name if origin is None else origin.model


@lru_cache(maxsize=4)
def _losses(by: str, text_sha256: str, device: str) -> tuple[NDArray[np.float64], Maker]:
    text = known(text_sha256)
    lm = GivenLM(pretrained=by, device=device)
    try:
        check_tokens(lm, text)
    except TaskRefused as error:
        raise UsageError(f"surprisal_from={by!r}: {error}") from error
    try:
        loss = score_windows(logits_of(lm), text.windows, usual_together(lm, text.windows)).loss
    except FloatingPointError as error:
        raise UsageError(f"surprisal_from={by!r}: {NAN}.") from error
    loaded = lm.loaded
    method = Method(DENSE) if loaded.method == Method(NONE) else loaded.method
    run = Run(loaded.model, method, loaded.level, loaded.bits)
    return loss, Maker(run, weights_sha256(lm.model))
