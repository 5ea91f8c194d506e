"""What a model is asked: a task's documents as requests, with lm-eval's own overrides and seeds."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from junkdna_harness.harness.model import LanguageModel
from junkdna_harness.harness.patches import no_bars
from junkdna_harness.harness.targets import plain
from junkdna_harness.harness.versions import logged_target, sample_size

Sample = dict[str, Any]


class Prompting(Protocol):
    """How tasks are turned into prompts; the names and meanings are those of lm-eval's options."""

    @property
    def limit(self) -> float | None: ...
    @property
    def num_fewshot(self) -> int | None: ...
    @property
    def seed(self) -> tuple[int | None, ...]: ...
    @property
    def apply_chat_template(self) -> bool | str: ...
    @property
    def fewshot_as_multiturn(self) -> bool | None: ...
    @property
    def system_instruction(self) -> str | None: ...


@dataclass(frozen=True)
class Document:
    """A document with its requests, and the part of lm-eval's sample that does not depend on the model."""

    doc: Any
    instances: list[Any]
    fixed: Sample


def build_documents(task: Any, lm: LanguageModel, prompting: Prompting) -> list[Document]:
    """The documents of `task` with their requests, as `lm_eval` would build them."""
    _override_shots(task, prompting)
    template = prompting.apply_chat_template
    multiturn = bool(template) if prompting.fewshot_as_multiturn is None else prompting.fewshot_as_multiturn
    limit = sample_size(task, prompting.limit)
    with no_bars():
        task.build_all_requests(
            limit=limit,
            rank=0,
            world_size=1,
            system_instruction=prompting.system_instruction,
            apply_chat_template=bool(template),
            fewshot_as_multiturn=multiturn,
            chat_template=lm.apply_chat_template if template else None,
            tokenizer_name=lm.tokenizer_name if template else "",
        )
    by_document: dict[int, list[Any]] = defaultdict(list)
    for instance in task.instances:
        by_document[instance.doc_id].append(instance)
    documents = []
    for doc_id, doc in task.doc_iterator(rank=0, limit=limit, world_size=1):
        instances = sorted(by_document[doc_id], key=lambda instance: instance.idx)
        if instances:  # lm-eval 0.5 lets a task skip a document
            documents.append(Document(doc, instances, _fixed_part(task, doc_id, doc, instances)))
    return documents


def _override_shots(task: Any, prompting: Prompting) -> None:
    default = task.get_config("num_fewshot")
    if prompting.num_fewshot is not None and default != 0:
        task.set_config(key="num_fewshot", value=prompting.num_fewshot)
    elif prompting.num_fewshot is None and default is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=prompting.seed[3])


def _fixed_part(task: Any, doc_id: int, doc: Any, instances: list[Any]) -> Sample:
    from lm_eval.utils import hash_string

    target = logged_target(task, doc, instances)
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": plain(target),
        "arguments": [instance.args for instance in instances],
        "doc_hash": document_hash(instances[0].doc),
        "prompt_hash": hash_string(instances[0].arguments[0]),
        "target_hash": hash_string(str(target)),
    }


def document_hash(doc: Any) -> str:
    """The `doc_hash` that `lm_eval --log_samples` writes for this document, a sha256 in hexadecimal."""
    from lm_eval.utils import handle_non_serializable, hash_string

    return str(hash_string(json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)))


def tokenize(lm: Any, instances: Sequence[Any]) -> list[Any]:
    """The requests as `lm` would hand them to `_loglikelihood_tokens`."""
    caught: list[Any] = []

    def catch(requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        caught.extend(requests)
        return [(0.0, False)] * len(requests)

    lm._loglikelihood_tokens = catch  # in front of the method of the class, for this one call
    try:
        lm.loglikelihood(instances, disable_tqdm=True)
    finally:
        del lm._loglikelihood_tokens
    return caught


def seed_all(seeds: Sequence[int | None]) -> None:
    """Seed as `lm_eval --seed` does, so that tasks that sample give what a separate call gives."""
    import numpy as np
    from lm_eval.utils import set_torch_seed

    if seeds[0] is not None:
        random.seed(seeds[0])
    if seeds[1] is not None:
        np.random.seed(seeds[1])
    if seeds[2] is not None:
        set_torch_seed(seeds[2])
