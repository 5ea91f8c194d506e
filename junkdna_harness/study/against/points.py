"""Digitised points of a paper's figures, from a CSV of the user's: every cell is understood, or refused with its line."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.study.against.curve import Floats, Level

PAPER = "paper"  # as a file: the one that the environment names, or the one that lies here
VARIABLE = "JUNKDNA_PAPER"
HERE, WITHIN = "paper.csv", "digitised.csv"
COLUMNS = ("figure", "panel", "series", "level", "value")
OPTIONAL = ("unit", "n", "dense")
# Unit -> (what a value is: share of dense, change of it, loss of it, or a score; what 1 of it is).
UNITS: Mapping[str, tuple[str, float]] = {
    "% of dense": ("kept", 0.01),
    "fraction of dense": ("kept", 1.0),
    "% change vs dense": ("change", 0.01),
    "% drop": ("drop", 0.01),
    "% drop vs dense": ("drop", 0.01),
    "accuracy": ("score", 1.0),
    "% accuracy": ("score", 0.01),
}
DEFAULT_UNIT = "% of dense"
LEAST, MOST = -0.5, 3.0  # of the dense score: what lies outside was measured in another unit
_METRIC = re.compile(r"(.*?)\s*\(([^()]*)\)")
_PATTERN = re.compile(r"(\d{1,4}):(\d{1,4})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Series:
    """One line of a panel: `kept` is what is left of the dense score at each level, shape (n_levels,), 1 for all of it.

    `unit` as the file has it; `metric`: what it names in brackets. `n` evaluation items and the `dense` score where the file says.
    """

    figure: str
    panel: str
    name: str
    levels: tuple[Level, ...]
    kept: Floats
    unit: str = DEFAULT_UNIT
    metric: str = ""
    n: int | None = None
    dense: float | None = None

    @property
    def where(self) -> str:
        """The figure, the panel and the series in one line."""
        return f"{self.figure} / {self.panel} / {self.name}"


def points_file(given: str) -> Path:
    """The CSV that is meant by `--against`.

    Raises:
        UsageError: it is not there.
    """
    if given != PAPER:
        path = Path(given)
    elif os.environ.get(VARIABLE):
        path = Path(os.environ[VARIABLE])
    else:
        path = Path(HERE)
        if not path.is_file():
            raise UsageError(
                f"--against paper: no points of the paper come with junkdna. Set {VARIABLE} to a CSV (or a folder with {WITHIN}), lay it "
                f"here as {HERE}, or give --against FILE.csv; its columns are {', '.join(COLUMNS)}, and {', '.join(OPTIONAL)} if you like."
            )
    path = path / WITHIN if path.is_dir() else path
    if not path.is_file():
        raise UsageError(
            f"--against: there is no file {str(path)!r}. Give a CSV with the columns {', '.join(COLUMNS)}."
        )
    return path


def read_points(path: Path) -> list[Series]:
    """All series of a file, in its order.

    Raises:
        UsageError: the file, or a row (named by its line), cannot be understood.
    """
    rows = list(_rows(path))
    if not rows:
        raise UsageError(f"{str(path)!r} holds no points, only a head. Give one row per point.")
    scale = _level_scale(path, rows)
    found: dict[tuple[str, str, str], list[tuple[int, dict[str, str]]]] = {}
    for line, row in rows:
        found.setdefault((row["figure"], row["panel"], row["series"]), []).append((line, row))
    _percent_or_fraction(path, rows)
    return [_series(path, points, scale) for points in found.values()]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells without blanks around them) of each row."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is no text in UTF-8 (byte {error.start}). Save it as CSV.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    head: list[str] | None = None
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if head is None:
                head = cells
                _check_head(path, head)
                continue
            if len(cells) != len(head):
                raise _bad(path, reader.line_num, f"has {len(cells)} cells, and the head has {len(head)}")
            yield reader.line_num, dict(zip(head, cells, strict=True))
    except csv.Error as error:
        raise _bad(path, reader.line_num, f"is no CSV ({error})") from None
    if head is None:
        raise UsageError(f"{str(path)!r} is empty. Its first line is {','.join(COLUMNS)}.")


def _check_head(path: Path, head: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in head]
    if missing:
        raise UsageError(
            f"{str(path)!r} lacks the column {missing[0]!r}.{did_you_mean(missing[0], head)} Its first line names {', '.join(COLUMNS)}, "
            f"and {', '.join(OPTIONAL)} if you like."
        )
    for k, name in enumerate(head):
        if name not in (*COLUMNS, *OPTIONAL):
            raise UsageError(
                f"{str(path)!r} has a column {name!r} that is not known.{did_you_mean(name, OPTIONAL)} Columns: "
                f"{', '.join((*COLUMNS, *OPTIONAL))}."
            )
        if name in head[:k]:
            raise UsageError(f"{str(path)!r} has the column {name!r} twice.")


def _bad(path: Path, line: int, why: str) -> UsageError:
    return UsageError(f"{str(path)!r}, line {line}: {why}. Mend the line, or take it out.")


def _level_scale(path: Path, rows: list[tuple[int, dict[str, str]]]) -> float:
    """What 1 of a plain level is: 0.01 where the file has percent, 1 where it has shares; all of a file is one or the other."""
    plain = [
        (line, float(row["level"])) for line, row in rows if _NUMBER.fullmatch(row["level"])
    ]  # others are N:M, or say %
    shares = [line for line, value in plain if 0 < value < 1]
    percents = [line for line, value in plain if value > 1]
    if shares and percents:
        raise _bad(
            path, shares[0], f"has a level below 1, and line {percents[0]} one above 1: percent and shares in one file"
        )  # fmt: skip
    if not shares and not percents and any(value for _, value in plain):
        line = next(line for line, value in plain if value)
        raise _bad(path, line, "has level 1, which is 1 % or all of the weights: write 1% or 100%")
    return 1.0 if shares else 0.01


def _percent_or_fraction(path: Path, rows: list[tuple[int, dict[str, str]]]) -> None:
    """Refuse a whole file of percents of dense none of which is above 1.5: they are fractions."""
    values = [
        float(row["value"])
        for _, row in rows
        if _unit(row)[0] == "% of dense" and _NUMBER.fullmatch(row["value"])
    ]
    if values and max(values) <= 1.5:
        raise UsageError(
            f"{str(path)!r} has no value above {max(values):g} % of dense: they look like fractions. Add a column unit with "
            "'fraction of dense' (or '% of dense', with a point of a model that is not broken)."
        )


def _unit(row: Mapping[str, str]) -> tuple[str, str]:
    """(unit as `UNITS` has it, metric in brackets)."""
    text = " ".join(row.get("unit", "").lower().split()) or DEFAULT_UNIT
    if text in UNITS:
        return text, ""
    match = _METRIC.fullmatch(" ".join(row["unit"].split()))
    return (match[1].lower(), match[2]) if match else (text, "")


def _series(path: Path, points: list[tuple[int, dict[str, str]]], scale: float) -> Series:
    line, first = points[0]
    for name in ("figure", "series"):
        if not first[name]:
            raise _bad(path, line, f"has no {name}")
    unit, metric = _unit(first)
    if unit not in UNITS:
        raise _bad(
            path, line, f"has the unit {first['unit']!r}, which is none of {', '.join(UNITS)} (a metric may follow in brackets)"
        )  # fmt: skip
    for other, row in points:
        for name in OPTIONAL:
            if row.get(name, "") != first.get(name, ""):
                raise _bad(path, other, f"has another {name} than line {line}, which is of the same series")
    n, dense = _items(path, line, first), _dense(path, line, first)
    found: dict[Level, tuple[int, float]] = {}
    for other, row in points:
        level = _level(path, other, row["level"], scale)
        if level in found:
            raise _bad(
                path, other, f"has the level {level} of {first['series']!r} again, as line {found[level][0]}"
            )
        found[level] = other, _value(path, other, row["value"])
    ordered = sorted(found)
    kept = _kept(path, line, unit, {level: found[level][1] for level in ordered}, dense)
    for level, share in zip(ordered, kept, strict=True):
        if not LEAST <= share <= MOST:
            raise _bad(
                path, found[level][0], f"has {found[level][1]:g} {unit}, which leaves {100 * share:.4g} % of the dense score: another unit?"
            )  # fmt: skip
    kinds = {bool(level.pattern) for level in ordered if level.sparsity}
    if len(kinds) > 1:
        raise _bad(
            path,
            line,
            f"begins the series {first['series']!r}, which has N:M and shares of weights as levels",
        )
    return Series(
        first["figure"], first["panel"], first["series"], tuple(ordered), kept, unit, metric, n, dense
    )


def _level(path: Path, line: int, text: str, scale: float) -> Level:
    match = _PATTERN.fullmatch(text)
    if match:
        n, m = map(int, match.groups())
        if not 0 < n <= m:
            raise _bad(path, line, f"has the level {text!r}, which keeps {n} of {m} weights")
        return Level(1 - n / m, f"{n}:{m}")
    bare = text.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(bare):
        raise _bad(
            path, line, f"has the level {text!r}, which is no number, percent (50%) or pattern (4:8, 4 kept)"
        )
    share = float(bare) * (0.01 if bare != text else scale)
    if not 0 <= share <= 1:
        raise _bad(path, line, f"has the level {text!r}, which is no share of the weights")
    return Level(float(f"{share:.10g}"))


def _value(path: Path, line: int, text: str) -> float:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise _bad(path, line, f"has the value {text!r}, which is no number")
    return float(text)


def _items(path: Path, line: int, row: Mapping[str, str]) -> int | None:
    text = row.get("n", "")
    if not text:
        return None
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 2:
        raise _bad(path, line, f"has n {text!r}, which is no number of evaluation items (2 or more)")
    return int(text)


def _dense(path: Path, line: int, row: Mapping[str, str]) -> float | None:
    text = row.get("dense", "")
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not 0 < float(text) <= 1:
        raise _bad(path, line, f"has dense {text!r}, which is no score above 0 and at most 1")
    return float(text)


def _kept(path: Path, line: int, unit: str, values: Mapping[Level, float], dense: float | None) -> Floats:
    """What is left of the dense score, from values in any unit."""
    kind, one = UNITS[unit]
    given = one * np.array(list(values.values()))
    if kind == "kept":
        return given
    if kind == "change":
        return 1 + given
    if kind == "drop":
        return 1 - given
    if (given < -1 - _ROUNDING).any() or (given > 1 + _ROUNDING).any():
        raise _bad(path, line, f"begins a series in {unit} with a value beyond 1: another unit?")
    first = next(iter(values))
    base = dense if dense is not None else one * values[first] if first.sparsity == 0 else None
    if base is None or base <= 0:
        raise _bad(
            path, line, f"begins a series in {unit} without the dense score: add a column dense, or a point at level 0"
        )  # fmt: skip
    return given / base
