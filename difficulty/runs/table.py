"""The tidy table: one row per item, run and metric. Everything in `difficulty` reads it, everything else writes it."""

from __future__ import annotations

import io
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difficulty.errors import UsageError, did_you_mean
from difficulty.files import write_atomic
from difficulty.json_files import WRONG_SHAPE, of_known_shape
from difficulty.runs.csv_cells import from_csv, safe_cells
from difficulty.runs.identity import DENSE as DENSE
from difficulty.runs.identity import Method, Run
from difficulty.runs.provenance import TIERS_FROM, makers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLUMNS = (
    "run", "model", "method", "level", "bits", "replicate", "task", "family", "axis", "tier",
    "item_id", "cluster_id", "metric", "value", "n_symbols", "chance",
)  # fmt: skip
IDENTITY = ("model", "method", "level", "bits", "replicate")
REQUIRED = ("model", "method", "level", "tier", "item_id", "metric", "value")
ALIASES = {"doc_hash": "item_id", "doc_id_hash": "item_id", "sparsity": "level", "cluster": "cluster_id"}
TEXT = ("run", "model", "method", "task", "family", "axis", "item_id", "cluster_id", "metric")

MARGIN = "margin"
# Optional columns. Whether more is better (true or false, empty where nobody said); how a metric is put together
# (difficulty.stats.mean.Scale, "mean" where empty) and the weight of an item in it (empty: all alike).
HIGHER_IS_BETTER, SCALE, WEIGHT = "higher_is_better", "scale", "weight"
# Optional column: how the run is known (`difficulty.runs.identity.KnownBy`), so that a guess stays one in a written table.
KNOWN_BY = "known_by"
# Optional column: true where the run's level was chosen by its loss on one half of the items (`difficulty.runs.halves`).
MATCHED = "matched"
# Optional column: how many weights the whole model has, a whole number.
N_WEIGHTS = "n_weights"
# Optional column: true for rows of a second evaluation of the dense weights (`difficulty.runs.noise`).
NOISE_FLOOR = "noise_floor"
OPTION_LOGLIK = (
    "option_loglik"  # optional column: natural log-likelihoods of an item's options, a list of floats
)

# Optional column: true where items were asked until a verdict was known (`junkdna gate`), so that they are no sample of a fixed size.
LOOKED = "looked"

OPTIONAL = (HIGHER_IS_BETTER, SCALE, WEIGHT, KNOWN_BY, MATCHED, N_WEIGHTS, NOISE_FLOOR, OPTION_LOGLIK, LOOKED)

SCALES = ("mean", "perplexity", "bits")


def run_name(
    model: str, method: str, level: float | None, bits: float | None, replicate: int = 0, again: bool = False
) -> str:
    """The id of a run made from the cells that identify it, e.g. `"llama magnitude 0.5"` or `"llama rtn 4 bits #1"`."""
    return str(Run(model, Method.parse(method), level, bits, replicate, noise_floor=again))


def validate(table: pd.DataFrame, source: str = "the table", keep_noise_floor: bool = False) -> pd.DataFrame:
    """`table` with the columns of the schema first, in order and of the right type; other columns follow as they are.

    Rows of a noise floor are left out unless they are asked for: who knows nothing of them must not judge them.

    Columns that a plain table may leave out get their defaults: `run` from what identifies it, `bits` none,
    `replicate` 0, `family` = task, `task` = family and tier, `axis` empty, `cluster_id` = item, `n_symbols` 1, `chance` 0.

    Raises:
        UsageError: a column is missing, a cell is not a number or out of range, an item is there twice,
            or one run id stands for two runs.
    """
    table = table.rename(columns={a: name for a, name in ALIASES.items() if a in table and name not in table})
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        hint = did_you_mean(missing[0], [c for c in table.columns if c not in COLUMNS])
        raise UsageError(
            f"{source} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}.{hint} "
            f"A tidy table has one row per item, run and metric, with {', '.join(COLUMNS)}."
        )
    if len(table) == 0:
        raise UsageError(
            f"{source} has no rows. Evaluate with --log_samples, so that there is something to compare."
        )
    table = _with_defaults(table.copy(deep=False), source)
    _check_ranges(table, source)
    _check_runs(table, source)
    _check_duplicates(table, source)
    if NOISE_FLOOR in table and not keep_noise_floor:
        table = table[~table[NOISE_FLOOR]].drop(columns=NOISE_FLOOR)
        if len(table) == 0:
            raise UsageError(
                f"{source} holds nothing but a noise floor, which is compared with the dense run. Give that run too."
            )
    return table[[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)]].reset_index(drop=True)


def _with_defaults(table: pd.DataFrame, source: str) -> pd.DataFrame:
    for name in ("level", "bits", "value", "chance"):
        default = 0.0 if name == "chance" else np.nan
        table[name] = _numbers(table, name, source, default)
    for name, whole in (("tier", 1), ("replicate", 0), ("n_symbols", 1)):
        table[name] = _whole(_numbers(table, name, source, whole), name, source)
    for name in ("item_id", "model", "method", "metric", "family", "task", "run"):
        if name in table:
            _no_gaps(table, name, source)
    table["item_id"] = _text(table["item_id"])
    for name in ("model", "method", "metric"):
        table[name] = _text(table[name])
    if "family" not in table:
        table["family"] = table.get("task", "all")
    table["family"] = _text(table["family"])
    table["task"] = (
        _text(table["task"]) if "task" in table else table["family"] + "_t" + table["tier"].astype(str)
    )
    table["axis"] = _text(table["axis"]) if "axis" in table else ""
    if HIGHER_IS_BETTER in table:
        table[HIGHER_IS_BETTER] = _truths(table, HIGHER_IS_BETTER, source)
    if MATCHED in table:
        table[MATCHED] = _truths(table, MATCHED, source).fillna(False).astype(bool)
    if NOISE_FLOOR in table:
        table[NOISE_FLOOR] = _truths(table, NOISE_FLOOR, source).fillna(False).astype(bool)
    if WEIGHT in table:
        table[WEIGHT] = _numbers(table, WEIGHT, source, np.nan)
    if N_WEIGHTS in table:
        table[N_WEIGHTS] = _numbers(table, N_WEIGHTS, source, np.nan)
    if SCALE in table:
        table[SCALE] = table[SCALE].fillna("mean").replace({"": "mean"}).astype(str)
    if TIERS_FROM in table:
        table[TIERS_FROM] = _makers(table[TIERS_FROM], source)
    if "cluster_id" in table:
        given = table["cluster_id"]
        table["cluster_id"] = _text(given).where(given.notna(), table["item_id"])
    else:
        table["cluster_id"] = table["item_id"]
    if "run" not in table:
        names = table[identity_of(table)].drop_duplicates()
        names = names.assign(run=[run_name(*row) for row in names.itertuples(index=False, name=None)])
        table = table.merge(names, on=identity_of(table), how="left")
    table["run"] = _text(table["run"])
    return table


def identity_of(table: pd.DataFrame) -> list[str]:
    """The columns by which the runs of `table` are told apart."""
    return [*IDENTITY, *([NOISE_FLOOR] if NOISE_FLOOR in table else [])]


def _no_gaps(table: pd.DataFrame, name: str, source: str) -> None:
    empty = (table[name].isna() | (table[name] == "")).to_numpy()
    if empty.any():
        more = f", and in {int(empty.sum()) - 1} more" if empty.sum() > 1 else ""
        raise UsageError(
            f"{source} has no {name} in row {int(np.flatnonzero(empty)[0]) + 1}{more}. Fill it in, or leave the rows out."
        )


def _numbers(table: pd.DataFrame, name: str, source: str, default: float) -> pd.Series[float]:
    if name not in table:
        return pd.Series(float(default), index=table.index)
    given = table[name]
    if given.dtype == object:
        given = given.replace({"": None})
    numbers = pd.to_numeric(given, errors="coerce").astype(float)
    wrong = numbers.isna() & given.notna()
    if wrong.any():
        at = int(np.flatnonzero(wrong.to_numpy())[0])
        raise UsageError(f"{source} has {name}={given.iloc[at]!r} in row {at + 1}. Write a number there.")
    return numbers.fillna(default) if name in ("chance", "replicate", "n_symbols") else numbers


def _whole(numbers: pd.Series[float], name: str, source: str) -> pd.Series[int]:
    values = numbers.to_numpy()
    wrong = ~np.isfinite(values) | (values != np.round(values))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise UsageError(f"{source} has {name}={values[at]} in row {at + 1}. Write a whole number there.")
    return numbers.astype(np.int64)


def _no_count(numbers: pd.Series[float]) -> pd.Series[bool]:
    known = numbers.notna()
    return known & ((numbers < 1) | (numbers != np.floor(numbers)) | np.isinf(numbers))


def _truths(table: pd.DataFrame, name: str, source: str) -> pd.Series[Any]:
    """True, false or missing, from truth values, 0 and 1, or their text."""
    column = table[name]
    if str(column.dtype) in ("bool", "boolean"):
        return column.astype("boolean")
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    given = column.astype(object).where(column.notna(), None)
    found = [None if v is None or v == "" else known.get(str(v).lower(), v) for v in given]
    if wrong := [v for v in found if v is not None and not isinstance(v, bool)]:
        raise UsageError(f"{source} has {name}={wrong[0]!r}. Write true or false there.")
    return pd.Series(found, index=column.index, dtype="boolean")


def _makers(column: pd.Series[Any], source: str) -> pd.Series[Any]:
    """The text of each cell, kept once: it is the same in all rows of a tier."""
    if not isinstance(column.dtype, pd.CategoricalDtype) or column.hasnans:
        column = column.astype(object).where(column.notna(), "").astype("category")
    for text in column.cat.categories:
        makers(text, source)
    return column


def _text(column: pd.Series[Any]) -> pd.Series[str]:
    return column.astype(str)


def _check_ranges(table: pd.DataFrame, source: str) -> None:
    rules = (
        ("value", ~np.isfinite(table["value"]), "finite"),
        ("tier", table["tier"] < 1, "1 (the easiest) or more"),
        ("level", (table["level"] < 0) | (table["level"] >= 1), "in [0, 1)"),
        ("bits", table["bits"] <= 0, "above 0"),
        ("chance", (table["chance"] < 0) | (table["chance"] >= 1), "in [0, 1)"),
        ("n_symbols", table["n_symbols"] < 1, "1 or more"),
        ("replicate", table["replicate"] < 0, "0 or more"),
        *([(WEIGHT, table[WEIGHT] <= 0, "above 0")] if WEIGHT in table else []),
        *(
            [(N_WEIGHTS, _no_count(table[N_WEIGHTS]), "a whole number, 1 or more")]
            if N_WEIGHTS in table
            else []
        ),
        *([(SCALE, ~table[SCALE].isin(SCALES), f"one of {', '.join(SCALES)}")] if SCALE in table else []),
    )
    for name, wrong, allowed in rules:
        if wrong.any():
            row = table.iloc[int(np.flatnonzero(wrong.to_numpy())[0])]
            raise UsageError(
                f"{source} has {name}={row[name]} for item {row['item_id']!r} of run {row['run']!r} ({row['metric']}), "
                f"and {int(wrong.sum()) - 1} more like it. {name} must be {allowed}."
            )


def _check_runs(table: pd.DataFrame, source: str) -> None:
    runs = table[["run", *identity_of(table)]].drop_duplicates()
    for column, other in (
        (["run"], "one name stands for two runs"),
        (identity_of(table), "one run has two names"),
    ):
        twice = runs[runs.duplicated(column, keep=False)]
        if len(twice):
            listed = "; ".join(
                f"{row.run}: {run_name(row.model, row.method, row.level, row.bits, row.replicate)}"
                for row in twice.head(2).itertuples()
            )
            raise UsageError(
                f"in {source} {other} ({listed}). A run is what shares model, method, level, bits and replicate."
            )


def _check_duplicates(table: pd.DataFrame, source: str) -> None:
    codes = [pd.factorize(table[name])[0] for name in ("run", "task", "metric", "item_id")]
    key = np.zeros(len(table), dtype=np.int64)
    for code in codes:
        key = key * (int(code.max()) + 1) + code
    twice = pd.Series(key).duplicated().to_numpy()
    if twice.any():
        rows = table[twice]
        raise UsageError(
            f"{source} holds {len(rows)} item{'s' * (len(rows) > 1)} twice in run {rows['run'].iloc[0]!r}: "
            f"{some(rows['item_id'].unique())} (task {rows['task'].iloc[0]!r}, {rows['metric'].iloc[0]}). "
            "Keep one row per item, run and metric; repeated draws take different replicate numbers."
        )


def some(names: Iterable[object], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def read_table(path: str | Path) -> pd.DataFrame:
    """The tidy table in a parquet or CSV file, validated.

    Raises:
        UsageError: the file is not there, cannot be read, or breaks the schema.
    """
    path = Path(path)
    return _validated(_raw(path), path)


def read_tables(paths: Sequence[Path]) -> list[pd.DataFrame]:
    """The same for several files: those of one shape are validated together, which takes the time of one.

    Raises:
        UsageError: as `read_table`, naming the file.
    """
    raw = [_raw(path) for path in paths]
    if len(raw) > 1 and all(len(one) and one.dtypes.equals(raw[0].dtypes) for one in raw):
        ends = np.cumsum([0, *(len(one) for one in raw)])
        with suppress(*WRONG_SHAPE):  # said below, with the name of the file
            whole = validate(pd.concat(raw, ignore_index=True), keep_noise_floor=True)
            return [whole.iloc[a:b].reset_index(drop=True) for a, b in pairwise(ends)]
    return [_validated(one, path) for one, path in zip(raw, paths, strict=True)]


def _validated(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    with of_known_shape(path, "the table", "Write it again."):  # a column of lists or of bytes
        return validate(table, source=f"{path.name!r}", keep_noise_floor=True)


def _raw(path: Path) -> pd.DataFrame:
    """What is in a file, before it is validated."""
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}. Give a tidy table (.parquet or .csv).")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.name.endswith((".csv", ".csv.gz")):
            dtypes = dict.fromkeys((*TEXT, *ALIASES, "prompt_hash", TIERS_FROM), str)
            table = pd.read_csv(path, dtype=dtypes, keep_default_na=False, na_values=[""])
            return from_csv(table, OPTION_LOGLIK)
        raise UsageError(
            f"{str(path)!r} is neither .parquet nor .csv. Convert it, or give a folder of lm-eval."
        )
    except UsageError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"{str(path)!r} cannot be read as a table: {first}.") from error


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a tidy table to `path` (.parquet or .csv), whole or not at all; the same table gives the same bytes.

    In CSV, text is as `csv_text` writes it, which `read_table` takes back (`csv_cells`): no two names become one.

    Raises:
        UsageError: another ending, a table that breaks the schema, or a place that cannot be written.
    """
    path = Path(path)
    table = validate(table, keep_noise_floor=True)
    if path.suffix == ".parquet":
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        write_atomic(path, buffer.getvalue())
    elif path.suffix == ".csv":
        buffer = io.BytesIO()  # a text of millions of rows would take four times its size on the way
        safe_cells(table, OPTION_LOGLIK).to_csv(buffer, index=False)
        write_atomic(path, buffer.getvalue())
    else:
        raise UsageError(
            f"{str(path)!r} is neither .parquet nor .csv. Name the table with one of these endings."
        )
