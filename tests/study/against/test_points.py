"""Points are read as they are meant, or refused with the line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from difficulty.errors import UsageError
from junkdna_harness.study.against.curve import Level
from junkdna_harness.study.against.points import UNITS, points_file, read_points
from tests.study.against.made_up import HEAD, line, points

WITH_UNIT = f"{HEAD},unit"


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("% of dense", "80"), ("fraction of dense", "0.8"), ("% change vs dense", "-20"), ("% drop", "20"), ("% drop vs dense", "20"),
        ("% OF  dense (EM)", "80"),
    ],
)  # fmt: skip
def test_every_unit_says_the_same_in_its_own_way(tmp_path: Path, unit: str, value: str) -> None:
    found = read_points(points(tmp_path, f"f,p,s,10,{value},{unit}", head=WITH_UNIT))
    assert found[0].kept == pytest.approx([0.8])
    assert found[0].metric == ("EM" if "EM" in unit else "")


@pytest.mark.parametrize(("unit", "values"), [("accuracy", ("0.9", "0.45")), ("% accuracy", ("90", "45"))])
def test_accuracies_are_divided_by_the_dense_one_at_level_0(
    tmp_path: Path, unit: str, values: tuple[str, str]
) -> None:
    path = points(tmp_path, f"f,p,s,0,{values[0]},{unit}", f"f,p,s,50,{values[1]},{unit}", head=WITH_UNIT)
    assert read_points(path)[0].kept == pytest.approx([1.0, 0.5])


def test_accuracies_are_divided_by_the_column_dense(tmp_path: Path) -> None:
    path = points(tmp_path, "f,p,s,50,0.45,accuracy,0.9,100", head=f"{WITH_UNIT},dense,n")
    found = read_points(path)[0]
    assert found.kept == pytest.approx([0.5])
    assert (found.n, found.dense) == (100, 0.9)


def test_all_units_are_tried() -> None:
    assert set(UNITS) == {
        "% of dense", "fraction of dense", "% change vs dense", "% drop", "% drop vs dense", "accuracy", "% accuracy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "shares"),
    [
        (("10", "12.5", "90"), (0.1, 0.125, 0.9)), (("0.1", "0.125", "1"), (0.1, 0.125, 1.0)), (("0.5%", "1%", "20 %"), (0.005, 0.01, 0.2)),
        (("0", "50"), (0.0, 0.5)), (("100%", "1%"), (0.01, 1.0)),
    ],
)  # fmt: skip
def test_levels_are_percent_or_shares(
    tmp_path: Path, levels: tuple[str, ...], shares: tuple[float, ...]
) -> None:
    found = read_points(points(tmp_path, *(f"f,p,s,{level},50" for level in levels)))[0]
    assert [level.sparsity for level in found.levels] == pytest.approx(shares)


def test_a_pattern_says_how_many_weights_are_kept_and_levels_rise(tmp_path: Path) -> None:
    found = read_points(points(tmp_path, "f,p,s,1:8,20", "f,p,s,7:8,90"))[0]
    assert found.levels == (Level(0.125, "7:8"), Level(0.875, "1:8"))
    assert found.kept == pytest.approx([0.9, 0.2])


@pytest.mark.parametrize(
    ("rows", "head", "told"),
    [
        (["f,p,s,10,x"], HEAD, "line 2: has the value 'x', which is no number"),
        (["f,p,s,10,nan"], HEAD, "line 2: has the value 'nan'"),
        (["f,p,s,10,5", "f,p,s,10,6"], HEAD, "line 3: has the level 10 % of 's' again, as line 2"),
        (["f,p,s,10,50", "f,p,s,0.2,60"], HEAD, "line 3: has a level below 1, and line 2 one above 1"),
        (["f,p,s,1,50"], HEAD, "line 2: has level 1, which is 1 % or all of the weights"),
        (["f,p,s,110,50"], HEAD, "line 2: has the level '110', which is no share"),
        (["f,p,s,9:8,50"], HEAD, "line 2: has the level '9:8', which keeps 9 of 8 weights"),
        (["f,p,s,4 bits,50"], HEAD, "line 2: has the level '4 bits', which is no number, percent (50%) or pattern"),
        (["f,p,s,4:8,50", "f,p,s,50,40"], HEAD, "line 2: begins the series 's', which has N:M and shares"),
        (["f,p,s,10,50,5"], HEAD, "line 2: has 6 cells, and the head has 5"),
        (['f,p,s,10,"50'], HEAD, "is no CSV"),
        ([",p,s,10,50"], HEAD, "line 2: has no figure"),
        (["f,p,s,10,0.9", "f,p,s,20,0.5"], HEAD, "has no value above 0.9 % of dense: they look like fractions"),
        (["f,p,s,10,90,BLEU"], WITH_UNIT, "line 2: has the unit 'BLEU', which is none of % of dense"),
        (["f,p,s,10,90,% of dense", "f,p,s,20,10,% drop"], WITH_UNIT, "line 3: has another unit than line 2"),
        (["f,p,s,10,90,fraction of dense"], WITH_UNIT, "line 2: has 90 fraction of dense, which leaves 9000 % of the dense score"),
        (["f,p,s,10,99,% change vs dense", "f,p,s,20,250,% change vs dense"], WITH_UNIT, "line 3: has 250 % change vs dense"),
        (["f,p,s,10,0.8,accuracy"], WITH_UNIT, "line 2: begins a series in accuracy without the dense score"),
        (["f,p,s,0,80,accuracy"], WITH_UNIT, "line 2: begins a series in accuracy with a value beyond 1"),
        (["f,p,s,10,50,0"], f"{HEAD},n", "line 2: has n '0', which is no number of evaluation items"),
        (["f,p,s,10,50,80"], f"{HEAD},dense", "line 2: has dense '80', which is no score above 0 and at most 1"),
        (["f,p,s,50"], "figure,panel,series,value", "lacks the column 'level'"),
        (["f,p,s,10,50,x"], f"{HEAD},Unit", "has a column 'Unit' that is not known. Did you mean 'unit'?"),
        (["f,p,s,10,50,5"], f"{HEAD},value", "has the column 'value' twice"),
        ([], HEAD, "holds no points, only a head"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_in_one_sentence_with_its_line(
    tmp_path: Path, rows: list[str], head: str, told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        read_points(points(tmp_path, *rows, head=head))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (b"\xff\xfe\x00", "is no text in UTF-8")])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(UsageError, match=told):
        read_points(tmp_path / "p.csv")


def test_the_byte_order_mark_and_windows_line_ends_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(f"\ufeff{HEAD}\r\nf,p,s,10,50\r\n\r\n".encode())
    assert len(read_points(path)) == 1


def test_paper_is_the_file_that_the_environment_names_or_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JUNKDNA_PAPER", raising=False)
    with pytest.raises(UsageError, match="no points of the paper come with junkdna.*JUNKDNA_PAPER.*figure, panel, series, level, value"):  # fmt: skip
        points_file("paper")
    (tmp_path / "paper.csv").write_text(HEAD)
    assert points_file("paper") == Path("paper.csv")
    (tmp_path / "digitised.csv").write_text(HEAD)
    monkeypatch.setenv("JUNKDNA_PAPER", str(tmp_path))
    assert points_file("paper") == tmp_path / "digitised.csv"
    monkeypatch.setenv("JUNKDNA_PAPER", str(tmp_path / "none.csv"))
    with pytest.raises(UsageError, match="there is no file"):
        points_file("paper")
    with pytest.raises(UsageError, match="there is no file 'x.csv'"):
        points_file("x.csv")


def test_a_series_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    path = points(tmp_path, *line("f", "b", "z", {10: 90}), *line("f", "a", "y", {10: 80}))
    assert [one.name for one in read_points(path)] == ["z", "y"]


@pytest.mark.skipif(not os.environ.get("JUNKDNA_PAPER"), reason="JUNKDNA_PAPER names no points of the paper")
def test_the_digitised_points_of_the_paper_are_all_understood() -> None:
    found = read_points(points_file("paper"))
    kept = np.concatenate([one.kept for one in found])
    assert len(found) > 100
    assert {one.unit for one in found} <= set(UNITS)
    assert (kept > -0.01).all() and (kept < 1.1).all()
