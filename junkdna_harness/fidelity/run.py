"""`fidelity`: what a compressed model's predictions of a text have left of the dense model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.fidelity.cache import DenseLogits
from junkdna_harness.fidelity.figures import SCHEMA, block_sums, figures, finite, partitions
from junkdna_harness.fidelity.load import Side, same_tokens, shared_width, state_of, tell_of_dtypes
from junkdna_harness.fidelity.passages import Passage, worst_passages
from junkdna_harness.fidelity.passes import Scored, score
from junkdna_harness.gate.fidelity import KIND
from junkdna_harness.sweep.plan import Plan
from junkdna_harness.sweep.states import Compressed, Dense
from junkdna_harness.texts.documents import Document
from junkdna_harness.texts.scoring import Logits, logits_of, windows_together
from junkdna_harness.texts.tokens import BLOCK, TokenizedText
from junkdna_harness.texts.vocabulary import refuse_unknown_tokens
from junkdna_harness.texts.windows import Layout, TokenizedDocument, cut, tokenize

WINDOW = 512  # tokens, as llama.cpp's


@dataclass(frozen=True)
class How:
    """How the text is seen: windows of `window` tokens, laid out as `layout`, the first `limit` tokens of each document alone.

    `worst` passages are kept, where the two models differ most. `cache`: a folder for the dense model's logits, so that they are computed
    once for all calls.
    """

    window: int = WINDOW
    layout: Layout = "rolling"
    limit: int | None = None
    worst: int = 5
    device: str | None = None
    dtype: str | None = None
    batch_size: int | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class Fidelity:
    """One compressed model beside the dense one on the same tokens.

    `state`: method, level and bits. `figures`: see `fidelity.figures.figures`. `parts`: the same for the parts of three partitions. `scored`: every token.
    """

    against: str
    model: str
    state: Mapping[str, Any]
    how: How
    figures: Mapping[str, Any]
    parts: Mapping[str, Sequence[Mapping[str, Any]]]
    passages: Sequence[Passage]
    scored: Scored = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which knows no infinity: None stands for it."""
        plain: dict[str, Any] = finite({
            "schema": SCHEMA, "kind": KIND, "model": self.model, "against": self.against, **self.state,
            "layout": self.how.layout, "window": self.how.window, "limit": self.how.limit, "block": BLOCK,
            **self.figures, **self.parts, "blocks": block_sums(self.scored.tokens),
            "worst_passages": [passage.to_dict() for passage in self.passages],
        })  # fmt: skip
        return plain


def fidelity(
    dense: Side, other: Side, documents: Sequence[Document], how: How | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fidelity:  # fmt: skip
    """The compressed model `other` beside `dense` on the documents. `progress` is told how many tokens of how many are compared.

    Raises:
        UsageError: the two cannot be compared token by token, or the text is too short.
    """
    how = how or How()
    if why := same_tokens(dense.lm, other.lm):
        raise UsageError(
            f"{other.description!r} and {dense.description!r} cannot be compared token by token: {why}. Name two states of one "
            "model, or give --bytes, which compares bits per byte alone."
        )
    tell_of_dtypes(dense.lm, other.lm)
    text = Text.of(dense.lm, documents, how)
    return text.compare(dense, other, progress)


@dataclass(frozen=True)
class Text:
    """Documents in one tokenizer's tokens and windows, ready to be seen by states of one model."""

    tokenized: TokenizedText
    how: How
    tokenizer: Any

    @classmethod
    def of(cls, lm: Any, documents: Sequence[Document], how: How) -> Text:
        """The documents for the model of this wrapper.

        Raises:
            UsageError: windows longer than what the model takes, or too little text.
        """
        if how.window > lm.max_length:
            raise UsageError(
                f"a window of {how.window} tokens is more than the {lm.max_length} that the model takes. Give less."
            )
        if how.limit is not None and how.limit < 1:
            raise UsageError(f"limit {how.limit} is less than one token of a document.")
        tokenized = tokenize(documents, lm)
        if how.limit is not None:
            tokenized = [_shortened(document, how.limit) for document in tokenized]
        windows = cut(tokenized, how.window, how.layout, lm.prefix_token_id, _beginning(lm.tokenizer))
        text = TokenizedText(tokenized, windows)
        refuse_unknown_tokens(lm.model_name, text.largest, lm.model)
        return cls(text, how, lm.tokenizer)

    def dense_logits(self, dense: Side, keep: bool) -> Logits:
        """The dense model as a function of inputs; what it answered is kept in the cache, or in memory if `keep`."""
        if self.how.cache is None and not keep:
            return logits_of(dense.lm)
        return DenseLogits(dense.lm, self.how.cache, len(self.tokenized.token))

    def compare(
        self, dense: Side, other: Side, progress: Callable[[int, int], None] | None = None, logits: Logits | None = None, state: int = 0,
        states: int = 1,
    ) -> Fidelity:  # fmt: skip
        """What `other` makes of this text beside `dense`, whose answers are those of `logits` where it is given; it is number `state` of `states`.

        Raises:
            UsageError: a model's answers are not numbers.
        """
        width = shared_width(dense.lm, other.lm)
        tokens = len(self.tokenized.token)
        done = state * tokens

        def told(more: int) -> None:
            nonlocal done
            done += more
            if progress:
                progress(done, states * tokens)

        together = self.how.batch_size or windows_together(
            self.how.window, width, dense.lm.device.type != "cpu"
        )
        try:
            scored = score(
                logits or self.dense_logits(dense, keep=False),
                logits_of(other.lm),
                self.tokenized,
                width,
                together,
                told,
            )
        except FloatingPointError as error:
            raise UsageError(
                f"{other.description!r} beside {dense.description!r}: {error}. Load both with dtype=float32, or look for what broke "
                "the weights: junkdna inspect."
            ) from error
        passages = worst_passages(scored, self.tokenized.documents, self.tokenizer, self.how.worst)
        return Fidelity(
            dense.description, other.description, other.state, self.how, figures(scored.tokens), partitions(scored.tokens, self.tokenized.counts),
            passages, scored,
        )  # fmt: skip


def over_grid(
    dense: Side, copy: Side, plan: Plan, documents: Sequence[Document], how: How,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Fidelity]:  # fmt: skip
    """The states of a grid, one after the other: `copy`, the same model loaded once more and not settled, is compressed, and made dense again.

    Raises:
        UsageError: as `fidelity`, or a state cannot be made.
    """
    text = Text.of(dense.lm, documents, how)
    state, logits = Compressed(Dense(copy.lm, {}, plan, 0)), text.dense_logits(dense, keep=True)
    cells = [cell for cell in plan.cells if cell.kind != "dense"]
    for number, cell in enumerate(cells):
        with state.holding(cell), copy.lm.computing():
            made = replace(
                copy, description=plan.run_id(cell), state=state_of(cell.table_method, cell.level, cell.bits)
            )
            yield text.compare(dense, made, progress, logits, number, len(cells))


def _shortened(document: TokenizedDocument, limit: int) -> TokenizedDocument:
    n_bytes = None if document.n_bytes is None else document.n_bytes[:limit]
    return replace(document, ids=document.ids[:limit], n_bytes=n_bytes)


def _beginning(tokenizer: Any) -> int | None:
    """The token that the tokenizer begins every text with; None where it does not."""
    ids = tokenizer("a", verbose=False)["input_ids"]
    begin = tokenizer.bos_token_id
    return int(begin) if begin is not None and len(ids) and ids[0] == begin else None
