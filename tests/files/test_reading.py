"""Files of others, read by the shared readers: whole, or refused with a sentence."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from difficulty.json_files import of_known_shape, parsed, read_json, refuse_unbounded
from difficulty.runs.read import read_runs
from difficulty.runs.safetensors_header import read_header
from junkdna_harness.commands.recover import _pairs
from junkdna_harness.yaml_values import read_yaml, read_yaml_file, yaml_of
from tests.difficulty.runs.logged import generated, samples_of, write_log


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not whole JSON"), (b'{"a": 1', "not whole JSON"), (b"[" * 100_000, "nested too deeply"), (b"1" * 5000, "not whole JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands there twice"), (b"\xff\xfe{\x00", "saved as UTF-16"), (b'"\xe9"', "not UTF-8"), (b'"a\x00"', "not whole JSON"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused_in_one_sentence(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(UsageError, match=told) as error:
        read_json(tmp_path / "f.json", "the file", "Restore it.")
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{"a": "é"}', encoding="utf-8-sig")
    assert read_json(tmp_path / "f.json", "the file", "Restore it.") == {"a": "é"}
    with pytest.raises(UsageError, match="cannot be read"):
        read_json(tmp_path / ("x" * 300), "the file", "Restore it.")
    with pytest.raises(UsageError, match="cannot be read"):
        read_json("a\0b", "the file", "Restore it.")


def test_a_wrong_shape_becomes_a_sentence_that_names_the_file() -> None:
    for use in (lambda: {}["a"], lambda: [][0], lambda: int("x"), lambda: (1).b, lambda: float(10**400)):  # type: ignore[attr-defined]
        told = pytest.raises(UsageError, match=r"the file 'f.json' is damaged \(.+\). Restore it.")
        with told, of_known_shape("f.json", "the file", "Restore it."):
            use()
    for value in (float("nan"), [1e999], {"a": {"b": 10**400}}):
        with pytest.raises(ValueError, match="without bounds"):
            refuse_unbounded(value)


@pytest.mark.parametrize("name", ["acc", "doc_id", "doc_hash", "filter", "target"])
def test_a_sample_that_says_one_thing_twice_is_refused(tmp_path: Path, name: str) -> None:
    write_log(tmp_path, {"t": [generated(i, acc=1.0) for i in range(3)]})
    path = samples_of(tmp_path, "t")
    first, *rest = path.read_text().splitlines()
    path.write_text(
        "\n".join([first[:-1] + f', "{name}": {json.dumps(generated(9, acc=0.0)[name])}}}', *rest]) + "\n"
    )
    with pytest.raises(UsageError, match=f"line 1, .*the key '{name}' stands there twice"):
        read_runs(tmp_path)


def test_a_key_of_the_document_may_be_called_as_one_of_the_sample(tmp_path: Path) -> None:
    rows = [{**generated(i, acc=1.0), "doc": {"target": "x", "filter": "y"}} for i in range(3)]
    write_log(tmp_path, {"t": rows})
    assert len(read_runs(tmp_path).table) == 3


@pytest.mark.parametrize(
    "text", ["a: [", "a: &a [*a]", "a: &a {b: *a}", "\t- x", "? [1, 2]\n: x", "a: 1\na: 2", "a: !!python/object:x {}", "- " * 3000, "1\n---\n2", "a: \x00"]
)  # fmt: skip
def test_what_is_no_yaml_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is no YAML") as error:
        yaml_of(text, "the plan", "Correct it.")
    assert "\n" not in str(error.value)
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UsageError, match="the plan '.*p.yaml' is no YAML"):
        read_yaml_file(tmp_path / "p.yaml", "the plan", "Correct it.")


def test_json_is_yaml_also_beyond_the_basic_plane() -> None:
    assert read_yaml(json.dumps({"task": "t😀"})) == {"task": "t😀"}
    assert parsed(json.dumps({"task": "t😀"})) == {"task": "t😀"}


def test_a_trainers_value_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--trainer 'x=\[' is no YAML"):
        _pairs(["x=["])


@pytest.mark.parametrize(
    "header",
    [
        b"", b"{", b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 99]}}', b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": 1, "shape": [2], "data_offsets": [0, 8]}}', b'{"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}',
    ],
)  # fmt: skip
def test_a_header_of_weights_that_cannot_be_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(UsageError, match="m.safetensors"):
        read_header(path)
    path.write_bytes(struct.pack("<Q", 2**60) + header)
    with pytest.raises(UsageError, match="is damaged"):
        read_header(path)
