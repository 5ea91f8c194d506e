"""Views of a document: the same question made easier or harder, and local files in the columns of the hub.

A view gets the rows of a split and returns new rows. What is drawn is drawn from the question's own text and a
seed, so that an item is the same in any order, split or subset.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from difficulty.errors import UsageError

Row = dict[str, Any]
TRIVIA_CONTEXT = 3072  # characters, as the paper's open-book TriviaQA
CANDIDATES = 80  # drawn for each question, whatever the number wanted, so that fewer are a part of more


def _rng(seed: int, text: str) -> random.Random:
    return random.Random(int.from_bytes(hashlib.sha256(f"{seed}\n{text}".encode()).digest()[:8], "big"))


def _kept(question: str, n_options: int, gold: int, keep: int, seed: int) -> list[int]:
    """Indices of `keep` options in their old order: the gold one, and distractors so drawn that a smaller set is
    always a part of a larger one."""
    others = [index for index in range(n_options) if index != gold]
    _rng(seed, question).shuffle(others)
    return sorted([gold, *others[: keep - 1]])


def fewer_arc_options(rows: Sequence[Row], keep: int, seed: int = 0) -> list[Row]:
    """ARC rows with exactly four options, `keep` of them left (labels and all)."""
    out = []
    for row in rows:
        labels = list(row["choices"]["label"])
        if len(labels) != 4 or row["answerKey"] not in labels:
            continue
        kept = _kept(row["question"], 4, labels.index(row["answerKey"]), keep, seed)
        choices = {key: [row["choices"][key][index] for index in kept] for key in row["choices"]}
        out.append({**row, "choices": choices})
    return out


def fewer_mmlu_options(rows: Sequence[Row], keep: int, seed: int = 0) -> list[Row]:
    """MMLU rows with `keep` of the four options left; the options are lettered anew."""
    out = []
    for row in rows:
        kept = _kept(row["question"], len(row["choices"]), int(row["answer"]), keep, seed)
        choices = [row["choices"][index] for index in kept]
        out.append({**row, "choices": choices, "answer": kept.index(int(row["answer"]))})
    return out


def hotpot_paragraphs(rows: Sequence[Row], paragraphs: int, seed: int = 0) -> list[Row]:
    """HotpotQA rows with `paragraphs` paragraphs, the gold ones among them, in the order of the data set; column
    `passages` is the text. Smaller sets are parts of larger ones. Rows with too few paragraphs are left out."""
    out = []
    for row in rows:
        titles = list(row["context"]["title"])
        gold = [index for index, title in enumerate(titles) if title in set(row["supporting_facts"]["title"])]
        others = [index for index in range(len(titles)) if index not in gold]
        if len(titles) < 10 or len(gold) != 2:  # the same questions in every tier
            continue
        _rng(seed, row["question"]).shuffle(others)
        kept = sorted(gold + others[: paragraphs - len(gold)])
        texts = [f"{titles[i]}: {''.join(row['context']['sentences'][i]).strip()}" for i in kept]
        out.append(
            {
                "id": row["id"],
                "question": row["question"],
                "answer": row["answer"],
                "passages": "\n\n".join(texts),
            }
        )
    return out


def nq_passages(rows: Sequence[Row], passages: int, position: str = "spread", seed: int = 0) -> list[Row]:
    """NQ rows with the gold passage among `passages`; the others are gold passages of other questions, so that they
    are on another subject. position: first, middle, last, or spread (drawn for each question).

    Raises:
        UsageError: the rows have no passages, as those of the hub.
    """
    if rows and "ctxs" not in rows[0]:
        raise UsageError(
            "the hub's nq_open has no passages. Put nq_open_open_book/validation.jsonl (question, answers, ctxs) into the "
            "folder that JUNKDNA_DATA or data_dir names."
        )
    pool = [_passage(row["ctxs"][0]) for row in rows]
    words = [f" {_normal(text)} " for text in pool]
    out = []
    for number, row in enumerate(rows):
        rng = _rng(seed, row["question"])
        wanted = passages - 1
        answers = [f" {normal} " for normal in map(_normal, row["answers"]) if normal]
        others: list[str] = []
        for index in rng.sample(range(len(rows)), min(len(rows), CANDIDATES)):
            if len(others) == wanted:
                break
            # a passage that holds the answer would be no distractor
            if index != number and not any(answer in words[index] for answer in answers):
                others.append(pool[index])
        place = _rng(seed + 1, row["question"]).random()
        slot = {"first": 0, "middle": wanted // 2, "last": wanted, "spread": int(place * passages)}[position]
        others.insert(slot, pool[number])
        out.append(
            {"question": row["question"], "answer": list(row["answers"]), "passages": "\n\n".join(others)}
        )
    return out


def nq_choices(rows: Sequence[Row], options: int = 4, seed: int = 0) -> list[Row]:
    """NQ rows as multiple choice: the first accepted answer among answers of other questions."""
    out = []
    answers = [row["answer"] for row in rows]
    for row in rows:
        rng = _rng(seed, row["question"])
        gold = row["answer"][0]
        others: list[str] = []
        for index in rng.sample(range(len(rows)), min(len(rows), options * 4)):
            candidate = answers[index][0]
            if (
                candidate not in others
                and not contains(candidate, row["answer"])
                and not contains(gold, [candidate])
            ):
                others.append(candidate)
        choices = others[: options - 1]
        slot = rng.randrange(options)
        choices.insert(slot, gold)
        out.append({**row, "choices": choices, "gold": slot})
    return out


def stsb_binary(rows: Sequence[Row]) -> list[Row]:
    """STS-B rows with column `same`: 1 for a similarity of 3 or more of 5, else 0."""
    return [{**row, "same": int(float(row["label"]) >= 3)} for row in rows]


def trivia_rows(rows: Sequence[Row]) -> list[Row]:
    """TriviaQA rows of `question_id, question, golden_answers[, context]` in the columns of the hub, and the context
    cut to 3,072 characters."""
    out = []
    for row in rows:
        # some copies keep CSV quotes around the question
        question = re.sub(r'^"(.*)"$', r"\1", row["question"], flags=re.DOTALL).replace('""', '"')
        new = {
            "question": question,
            "question_id": row["question_id"],
            "answer": {"aliases": row["golden_answers"]},
        }
        out.append({**new, "passages": row["context"][:TRIVIA_CONTEXT]} if "context" in row else new)
    return out


def trivia_passages(rows: Sequence[Row]) -> list[Row]:
    """TriviaQA rows with column `passages`: the search and Wikipedia text, cut to 3,072 characters. Rows that have the
    column already (local files) keep it; rows without any text are left out."""
    out = []
    for row in rows:
        if "passages" in row:
            out.append(dict(row))
            continue
        texts = [*row["search_results"]["search_context"], *row["entity_pages"]["wiki_context"]]
        text = "\n".join(texts)[:TRIVIA_CONTEXT]
        if text:
            out.append(
                {"question": row["question"], "question_id": row["question_id"],
                 "answer": {"aliases": row["answer"]["aliases"]}, "passages": text}
            )  # fmt: skip
    return out


def svamp_rows(rows: Sequence[Row]) -> list[Row]:
    """SVAMP rows, numbers as text ("51", not 51.0), and the problem in column `problem`."""
    return [
        {"ID": row["ID"], "problem": _joined(row["Body"], row["Question"]), "equation": row["Equation"],
         "number": _number(row["Answer"])} for row in rows
    ]  # fmt: skip


def mawps_rows(rows: Sequence[Row]) -> list[Row]:
    """MAWPS rows in one form, whether readable (`original_text`, `equation`, `ans`) or with numbers replaced
    (`Question` with number0 or N_00, `Numbers`)."""
    out = []
    for row in rows:
        if "original_text" in row:
            out.append(
                {
                    "problem": row["original_text"].strip(),
                    "equation": row["equation"],
                    "number": _number(row["ans"]),
                }
            )
            continue
        text = row["Question"]
        for index, value in enumerate(str(row["Numbers"]).split()):
            text = re.sub(rf"\b(?:number{index}|N_{index:02d})\b", _number(value), text)
        out.append({"problem": text.strip(), "equation": row["Equation"], "number": _number(row["Answer"])})
    return out


def contains(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the text, letters, digits and single spaces only compared; an empty
    answer or text never counts."""
    inside = f" {_normal(text)} "
    return any(f" {normal} " in inside for normal in map(_normal, answers) if normal)


def contains_answer(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """lm-eval `process_results`: exact match after normalising, and whether the answer is contained."""
    accepted = doc["answer"]["aliases"] if isinstance(doc["answer"], Mapping) else doc["answer"]
    answers = [accepted] if isinstance(accepted, str) else list(accepted)
    given = _normal(results[0])
    return {
        "exact_match": float(any(given == _normal(answer) for answer in answers) and bool(given)),
        "contains": float(contains(results[0], answers)),
    }


def _normal(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (SQuAD's way)."""
    words = re.sub(r"[^\w\s]", " ", text.lower()).split()
    return " ".join(word for word in words if word not in ("a", "an", "the"))


def _passage(context: Mapping[str, Any]) -> str:
    return f"{context['title']}: {' '.join(str(context['text']).split())}"


def _joined(body: str, question: str) -> str:
    body = body.strip()
    return (
        f"{body} {question.strip()}" if body.endswith((".", "?", "!", ",")) else f"{body}. {question.strip()}"
    )


def _number(value: Any) -> str:
    number = float(str(value).replace(",", ""))
    return str(int(number)) if number == int(number) else repr(number)
