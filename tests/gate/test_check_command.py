"""`junkdna check` as it is called: exit codes, outputs, and files, on run folders in lm-eval's own layout."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from difficulty.errors import UsageError
from junkdna_harness import check
from junkdna_harness.commands.check import check as command
from tests.report.synthetic import item_hash

app = typer.Typer()
app.command()(command)
STAMP = "2026-01-02T03-04-05.000000"


def folder(
    path: Path,
    right: dict[tuple[str, int], np.ndarray],
    version: float = 1.0,
    family: str | None = None,
    prompt: str = "",
    wrong: str = "5",
) -> Path:
    """An lm-eval output folder of a dense run whose items are right (1) or wrong (0) as given.

    Item i asks `prompt` and 2+i; the answer is 4 where it is right, else `wrong`.
    """
    inside = path / "model"
    inside.mkdir(parents=True)
    configs, versions = {}, {}
    for (name, tier), values in right.items():
        task = f"{name}_t{tier}"
        configs[task] = {
            "output_type": "generate_until",
            "metadata": {"family": family or name, "tier": tier, "axis": "digits"},
        }
        versions[task] = version
        lines = [
            {
                "doc_id": i,
                "doc": {"q": i},
                "target": "4",
                "arguments": {"gen_args_0": {"arg_0": f"{prompt}2+{i}=", "arg_1": {}}},
                "resps": [["4" if v else wrong]],
                "filtered_resps": ["4" if v else wrong],
            }
            | {"filter": "none", "metrics": ["exact_match"]}
            | {
                "doc_hash": item_hash(f"{task}{i}"),
                "prompt_hash": "p",
                "target_hash": "t",
                "exact_match": float(v),
            }
            for i, v in enumerate(values)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (inside / f"samples_{task}_{STAMP}.jsonl").write_text(text)
    results = {"results": {}, "configs": configs, "versions": versions, "config": {}, "model_name": "m"}
    (inside / f"results_{STAMP}.json").write_text(json.dumps(results))
    return path


def right(n: int = 200, wrong: int = 0) -> np.ndarray:
    values = np.ones(n)
    values[:wrong] = 0
    return values


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def outcome(result: Result) -> str:
    """The last paragraph, on one line."""
    return " ".join(result.stdout.strip().rpartition("\n\n")[2].split())


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return folder(tmp_path / "good", {("addition", 1): right(), ("addition", 2): right(wrong=20)})


def test_the_same_run_passes_with_exit_code_0(good: Path) -> None:
    result = run(good, "--against", good, "--max-drop", "0.02")
    assert result.exit_code == 0
    assert "PASS" in result.stdout


def test_a_broken_tier_fails_with_exit_code_1_and_its_name(good: Path, tmp_path: Path) -> None:
    bad = folder(tmp_path / "bad", {("addition", 1): right(), ("addition", 2): right(wrong=90)})
    result = run(bad, "--against", good)
    assert result.exit_code == 1
    assert "addition tier 2" in outcome(result)


@pytest.mark.parametrize(
    ("option", "code"), [([], 3), (["--inconclusive=fail"], 1), (["--inconclusive=pass"], 0)]
)
def test_too_few_items_are_inconclusive_unless_told_otherwise(
    tmp_path: Path, option: list[str], code: int
) -> None:
    few = folder(tmp_path / "few", {("addition", 1): right(30)})
    result = run(few, "--against", few, *option)
    assert result.exit_code == code
    assert "about 149 items would decide" in outcome(result)


def test_a_missing_family_fails_and_is_named(good: Path, tmp_path: Path) -> None:
    both = folder(
        tmp_path / "both", {("addition", 1): right(), ("addition", 2): right(), ("sorting", 1): right()}
    )
    result = run(good, "--against", both)
    assert result.exit_code == 1
    assert "sorting" in result.stdout


def test_a_committed_baseline_judges_like_the_run_it_came_from(good: Path, tmp_path: Path) -> None:
    bad = folder(tmp_path / "bad", {("addition", 1): right(), ("addition", 2): right(wrong=90)})
    baseline = tmp_path / "baseline.json"
    assert run(good, "--write-baseline", baseline).exit_code == 0
    from_file = json.loads(run(bad, "--against", baseline, "--json", "-").stdout)
    from_run = json.loads(run(bad, "--against", good, "--json", "-").stdout)
    for cell in (*from_file["cells"], *from_run["cells"]):
        for flip in cell["flips"]:
            flip["answer_before"] = None  # a file holds none
    assert from_file["cells"] == from_run["cells"]
    assert run(good, "--against", baseline).exit_code == 0


def test_json_junit_and_the_step_summary_say_the_same(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    bad = folder(tmp_path / "bad", {("addition", 1): right(), ("addition", 2): right(wrong=90)})
    result = run(bad, "--against", good, "--json", tmp_path / "o.json", "--junit-xml", tmp_path / "o.xml")
    document = json.loads((tmp_path / "o.json").read_text())
    assert (document["verdict"], document["exit_code"], result.exit_code) == ("fail", 1, 1)
    failed = {cell["name"] for cell in document["cells"] if cell["verdict"] == "fail"}
    suite = ET.parse(tmp_path / "o.xml").getroot()[0]
    assert int(suite.get("failures", "0")) == len(failed) == 2
    assert {
        case.get("name", "").split(" (")[0] for case in suite if case.find("failure") is not None
    } == failed
    assert "junkdna check: fail" in summary.read_text()
    assert summary.read_text().count("❌ fail") == 2 * len(failed)
    assert [case.get("name") for case in suite][:2] == [
        "addition tier 2 (exact_match)",
        "overall (exact_match)",
    ]


def test_an_inconclusive_case_is_skipped_in_junit_unless_it_counts_as_a_fail(tmp_path: Path) -> None:
    few = folder(tmp_path / "few", {("addition", 1): right(30)})
    for option, tag in (("exit3", "skipped"), ("fail", "failure")):
        run(few, "--against", few, "--junit-xml", tmp_path / "o.xml", f"--inconclusive={option}")
        assert len(ET.parse(tmp_path / "o.xml").getroot().findall(f".//{tag}")) == 2


def test_hostile_names_stay_text_in_xml_and_markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "<b>|x\x00\n`y`"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    few = folder(tmp_path / "few", {("addition", 1): right(30)}, family=name)
    run(few, "--against", few, "--junit-xml", tmp_path / "o.xml")
    names = [case.get("name", "") for case in ET.parse(tmp_path / "o.xml").getroot().iter("testcase")]
    assert any("<b>|x" in found for found in names)
    table = [line for line in (tmp_path / "s.md").read_text().splitlines() if line.startswith("|")]
    assert r"\<b\>\|x" in "\n".join(table)


def error(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, UsageError), result.output
    return str(result.exception)


def test_mistakes_are_one_sentence_each(good: Path, tmp_path: Path) -> None:
    other = folder(tmp_path / "other", {("addition", 1): right(), ("addition", 2): right()}, version=2.0)
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    file = tmp_path / "file"
    file.write_text("")
    assert "nothing to compare with" in error(good)
    assert "version 2.0 in the new run and 1.0 in the baseline" in error(other, "--against", good)
    assert "holds neither" in error(empty, "--against", good)
    assert "is not a baseline file" in error(good, "--against", wrong)
    assert "cannot write" in error(good, "--write-baseline", file / "b.json")
    assert "no run 'x'" in error(good, "--against", good, "--run", "x")
    assert "no metric 'acc'" in error(good, "--against", good, "--metric", "acc")
    assert "--by 'tear'" in error(good, "--against", good, "--by", "tear")


def test_a_second_evaluation_as_noise_floor_spares_a_fail(good: Path, tmp_path: Path) -> None:
    noisy = folder(tmp_path / "noisy", {("addition", 1): right(), ("addition", 2): right(wrong=70)})
    worse = folder(tmp_path / "worse", {("addition", 1): right(), ("addition", 2): right(wrong=60)})
    assert run(worse, "--against", good).exit_code == 1
    result = run(worse, "--against", good, "--noise-floor", noisy)
    assert result.exit_code == 3
    assert "no more than the noise floor" in " ".join(result.stdout.split())
    assert "Give --against BASELINE too" in error(
        worse, "--write-baseline", tmp_path / "b.json", "--noise-floor", noisy
    )


def test_a_policy_that_is_written_is_the_one_that_judges(good: Path, tmp_path: Path) -> None:
    written = tmp_path / "gate.yaml"
    bad = folder(tmp_path / "bad", {("addition", 1): right(), ("addition", 2): right(wrong=90)})
    first = json.loads(run(bad, "--against", good, "--write-policy", written, "--json", "-").stdout)
    again = json.loads(run(bad, "--against", good, "--policy", written, "--json", "-").stdout)
    assert first["cells"] == again["cells"] and first["policy"] == again["policy"]
    assert check(bad, good, policy=written).verdict == first["verdict"] == "fail"
    with pytest.raises(UsageError, match="max_drop and policy both say"):
        check(bad, good, 0.1, policy=written)
    assert "--max-drop and --policy both say" in error(
        bad, "--against", good, "--policy", written, "--max-drop", "0.1"
    )
