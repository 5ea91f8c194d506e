"""What text a model is measured on, and what is said of files that hold none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from junkdna_harness.texts.documents import read_documents


def test_a_text_file_is_one_document_and_rows_are_one_each(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    rows = [{"text": "first", "n": 1}, {"text": " "}, {"text": "third"}]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_documents([str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")])
    assert [(Path(d.source).name, d.number, d.text) for d in found] == [
        ("a.txt", 0, "one\n\ntwo\n"),
        ("b.jsonl", 0, "first"),
        ("b.jsonl", 2, "third"),  # an empty row is left out, and the others keep their numbers
    ]


def test_a_field_is_named_after_a_colon(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "no", "story": "yes"}))
    assert read_documents([f"{tmp_path / 'b.jsonl'}:story"])[0].text == "yes"


def test_the_texts_of_the_package_are_there() -> None:
    found = read_documents(["starter", "embedded"])
    names = [document.source for document in found]
    assert names == [f"starter/{n}" for n in ("code", "explain", "lists", "numbers", "prose")] + ["embedded"]
    assert sum(len(document.text.split()) for document in found[:5]) > 5000
    assert read_documents(["embedded"]) == found[5:]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty. Give a file with text."),
        (b" \n ", "is empty"),
        (b"\x00\x01", "is binary, or not UTF-8"),
        (b"caf\xe9", "is binary, or not UTF-8"),
    ],
)
def test_files_without_text(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UsageError, match=told):
        read_documents([str(tmp_path / "a.txt")])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not a JSON object"),
        ('{"a": "x", "b": "y"}', "has no column 'text'. Name one of a, b after a colon"),
        ('{"text": "x"}\n{"text": 1}', "object 2: no text field 'text'"),
        ('{"text": " "}', "holds empty texts alone"),
    ],
)
def test_rows_without_text(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(UsageError, match=told):
        read_documents([str(tmp_path / "a.jsonl")])


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="there is no text file 'no.txt'. Give a .txt or .jsonl file, starter or embedded"
    ):
        read_documents(["no.txt"])
    with pytest.raises(UsageError, match="is a folder. Give its files"):
        read_documents([str(tmp_path)])
    with pytest.raises(UsageError, match="'starter' is there twice"):
        read_documents(["starter", "starter"])
    with pytest.raises(UsageError, match="there is no text"):
        read_documents([])
