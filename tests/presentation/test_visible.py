"""What of a name reaches a terminal: all of it can be seen, none of it acts, and ordinary text of any language is left alone."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty.runs.csv_cells import csv_text
from difficulty.visible import look_alikes, restored, reversible, visible, visible_json

ACTS = [
    "\x1b[31m", "\x1b]0;title\x07", "\x9b31m", "a\bb", "a\rb", "\x7f", "\x00", "\x85", "\u202eabc", "\u2066a", "\u200ea", "\u061c", "a\u200bb",
    "a\u200db", "a\u200cb", "\ufeffa", "\u2028", "\udc80", "a\ufe0f", "\U000e0041", "\U000e007f", "e" + "\u0301" * 40, "😀" + "\ufe0f" * 9,
    "a\xadb", "\u2060", "\uffff", "\ufff9", "\u3164", "ส" + "็" * 30, "🏴\U000e0041\U000e007f",
]  # fmt: skip
ORDINARY = [
    "naïve façade", "Ελλάδα", "שָׁלוֹם", "مرحبا", "می‌خواهم", "क्‍ष", "র‍্য", "ශ්‍රී", "สวัสดีที่นี่", "日本語 中文 한국어", "日\U000e0100本", "👨‍👩‍👧‍👦", "🏳️‍🌈", "❤️",
    "🙂\u200d↔\ufe0f", "ℹ\ufe0f", "CPU\u200cها", "ব\u200c্যা", "Tiếng Việt", "tie\u0302\u0301ng", "हिन्दी", "ภาษาไทย",
    "👩🏽‍🔬", "1️⃣", "©️", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "C:\\new\\x", "a\nb\tc", "δ ≥ 0 ≈ ±",
]  # fmt: skip


@pytest.mark.parametrize("text", ACTS)
def test_what_acts_or_hides_is_written_as_an_escape(text: str) -> None:
    shown = visible(text)
    assert "\\" in shown
    assert visible(shown) == shown
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text
    assert not visible_json(json.dumps(text, ensure_ascii=False)).count(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(st.text(st.sampled_from("ab\\x1bu202e'=\x1b\u202e\x00\n\udc80 é"), max_size=12))
def test_what_is_written_to_a_csv_file_is_read_again_as_it_was(text: str) -> None:
    assert restored(reversible(text)) == text
    assert restored(csv_text(text).removeprefix("'")) == text
    assert visible(csv_text(text)) == csv_text(text)


def test_names_that_only_look_the_same_are_found() -> None:
    names = ["café", "cafe\u0301", "a b", "a\u00a0b", "t", "t\u200b", "t\\u200b", "other"]
    assert sorted(map(len, look_alikes(names))) == [2, 2, 3]


def test_nothing_but_the_room_of_consoles_prints() -> None:
    """`print`, `typer.echo` and rich's own console know nothing of hostile names."""
    package = Path(__file__).parents[2] / "junkdna_harness"
    # A start of Python and the border of lm_eval print before that room may be loaded; a training script is run by its authors.
    own = {"autoload.py", "border.py", "presentation/console.py", "embedded/train.py"}
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name not in own and called in ("print", "typer.echo", "typer.secho", "Console", "rich.print", "sys.stdout.write", "sys.stderr.write"):  # fmt: skip
                found.append(f"{name}:{node.lineno} {called}")
    assert found == []
