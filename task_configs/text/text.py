"""What the YAMLs of token tasks name: tokens of any text as documents, and how they are asked and scored.

A document is a token. It is asked with the request type `token_scores`, which models that are loaded with transformers (`hf`,
`junkdna-pruned`, `junkdna-quantized`) answer with one pass for each window of the text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import datasets
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

from difficulty.errors import UsageError
from difficulty.runs.provenance import TIERS_FROM, Maker
from junkdna_harness.border import TaskRefused, end_lm_eval_with_a_sentence
from junkdna_harness.harness.patches import no_hints_about
from junkdna_harness.models.surprisal import surprisal
from junkdna_harness.models.token_scores import token_scores
from junkdna_harness.texts.known import WINDOW, known, tokenized
from junkdna_harness.texts.tiers import FAMILIES
from junkdna_harness.texts.tokens import BLOCK, TokenizedText

SURPRISAL = "text_surprisal"
BEFORE = 16  # tokens that are shown before the one that is asked
no_hints_about("difficulty_tiers_")


def _token_scores(lm: LM, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
    """What a model without a method of its own answers.

    Raises:
        UsageError: it gives no logits.
    """
    if not isinstance(lm, HFLM):
        end_lm_eval_with_a_sentence()
        raise UsageError(
            f"tokens of a text need a model's logits, which {type(lm).__name__} does not give. Use --model hf, junkdna-pruned or "
            "junkdna-quantized."
        )
    return token_scores(lm, requests)


if not hasattr(LM, "token_scores"):
    LM.token_scores = _token_scores


class TextTask(ConfigurableTask):  # type: ignore[misc]
    """A tier of a text's tokens."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={name: value for name, value in config.items() if name != "class"})
        metadata = dict(self.config.metadata or {})
        if metadata.get("family") == SURPRISAL:
            # Whose scores made the tiers stands in the logs, so that no run is judged by its own.
            _, maker = _tiers(**metadata)
            self.config.metadata = {**metadata, TIERS_FROM: [maker.to_dict()] if maker else []}

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Instance:
        """One request: which token of which text."""
        name = f"{doc['text']}:{doc['document']}:{doc['place']}"
        return Instance("token_scores", doc, (name,), 0, metadata=kwargs["metadata"])  # type: ignore[arg-type]

    def dump_config(self) -> dict[str, Any]:
        """As lm-eval's, with what is asked."""
        return {**super().dump_config(), "output_type": "token_scores"}


def process_results(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:
    """`acc`: whether the token is the likeliest. `margin`: its log-odds against the likeliest other token."""
    right, margin, _loss = results[0]
    return {"acc": float(right), "margin": float(margin)}


def load(
    family: str, tier: int, text: Any = None, window: Any = WINDOW, **arguments: Any
) -> dict[str, datasets.Dataset]:
    """The split `test`: the tokens of one tier of the texts `text`, in an order that does not follow the text.

    lm-eval passes the task's metadata and the model's arguments alike; of these the model and its tokenizer are read.

    Raises:
        UsageError: a text or the tokenizer cannot be read.
        TaskRefused: the text has no token of this tier.
    """
    try:
        found, decode, tiers = _tiers(family, text, window, **arguments)[0]
        if not (tiers == tier).any():
            raise TaskRefused(f"the text has no token in tier {tier} of family {family!r}. Give more text.")
    except UsageError:
        end_lm_eval_with_a_sentence()
        raise
    return {"test": _documents(found, np.flatnonzero(tiers == tier), decode)}


def _tiers(
    family: str, text: Any = None, window: Any = WINDOW, surprisal_from: Any = None, **arguments: Any
) -> tuple[tuple[TokenizedText, Any, Any], Maker | None]:
    """The text, what turns its tokens into words, and each token's tier; and whose scores made the tiers."""
    found, tokenizer = tokenized(text, arguments, window)
    if family == SURPRISAL:
        tiers, maker = surprisal(found, surprisal_from, arguments)
        return (found, tokenizer.decode, tiers), maker
    return (found, tokenizer.decode, _by_the_text(family.removeprefix("text_"), found.sha256)), None


@lru_cache(maxsize=16)
def _by_the_text(family: str, sha256: str) -> Any:
    """Each token's tier: once for the four tasks of a family."""
    return FAMILIES[family](known(sha256))


def _documents(text: TokenizedText, chosen: Any, decode: Any) -> datasets.Dataset:
    order = np.random.default_rng(int(text.sha256[:8], 16)).permutation(chosen)
    rows = []
    for number in order.tolist():
        document, place = int(text.document[number]), int(text.place[number])
        ids = text.documents[document].ids
        rows.append(
            {
                "text": text.sha256, "document": document, "place": place, "source": str(text.source[number]),
                "context": int(text.context[number]), "before": decode(ids[max(0, place - BEFORE) : place]),
                "token": decode(ids[place : place + 1]), "block": f"{text.document_sha256[document][:16]}/{place // BLOCK}",
            }
        )  # fmt: skip
    return datasets.Dataset.from_list(rows)
