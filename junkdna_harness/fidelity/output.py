"""What `junkdna fidelity` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from junkdna_harness.fidelity.per_byte import BytesOnly
from junkdna_harness.fidelity.run import Fidelity
from junkdna_harness.presentation.escape import one_line
from junkdna_harness.presentation.lines import paragraph, plain
from junkdna_harness.presentation.table import number_table

INTERVAL = "95 %"
GRID_HEADER = (
    "run",
    "ppl",
    "ratio",
    INTERVAL,
    "KL mean",
    INTERVAL,
    "KL 99 %",
    "KL max",
    "top-1",
    "top-5",
    "accepted",
    "bits/byte",
)
PART_HEADER = ("", "tokens", "ppl dense", "ppl", "ratio", INTERVAL, "KL mean", INTERVAL, "top-1")
PARTS = {
    "by_context": "by tokens of context",
    "by_frequency": "by how often the token occurs in the text",
    "by_source": "by source",
}


def single_text(found: Fidelity) -> str:
    """Everything of one comparison."""
    f = found.figures
    lines = [
        _folded(
            f"{one_line(found.model)} against {one_line(found.against)}: {f['n_tokens']:,} tokens in {f['n_blocks']:,} blocks, "
            f"windows of {found.how.window} ({found.how.layout})"
        ),
        "",
        _table(("", "value", INTERVAL), _rows(f)),
    ]
    for name, title in PARTS.items():
        rows = found.parts[name]
        if len(rows) > 1:
            lines += ["", title, _table(PART_HEADER, [part_row(row) for row in rows])]
    if found.passages:
        lines += [
            "",
            _folded(
                "where the two differ most (KL; the text's token in brackets; the likeliest tokens of both):"
            ),
        ]
        for one in found.passages:
            text = f"{one.before[-60:]}[{one.token}]{one.after[:20]}"
            says = " | ".join(", ".join(map(repr, side)) for side in (one.dense_says, one.this_says))
            lines.append(_folded(f"  {one.kl:.3g}  {one_line(one.source)}: {one_line(text)}"))
            lines.append(_folded(f"        {one_line(says)}"))
    return "\n".join(lines)


def grid_text(found: Sequence[Fidelity]) -> str:
    """A row for each state of a grid."""
    first = found[0]
    head = (
        f"against {one_line(first.against)} (perplexity {first.figures['perplexity_dense']:.4g}): {first.figures['n_tokens']:,} tokens "
        f"in {first.figures['n_blocks']:,} blocks, windows of {first.how.window} ({first.how.layout})"
    )
    rows = [grid_row({"model": one.model, **one.figures}) for one in found]
    return f"{_folded(head)}\n\n{_table(GRID_HEADER, rows)}"


def bytes_text(found: BytesOnly) -> str:
    """Bits per byte of two models with different tokenizers."""
    f = found.figures
    rows = [
        (name, f"{f[key]:.4f}", _ends(f, key, ".4f"))
        for name, key in (
            ("bits per byte, " + one_line(found.against), "bits_per_byte_dense"),
            ("bits per byte, " + one_line(found.model), "bits_per_byte"),
            ("difference", "bits_per_byte_difference"),
        )
    ]
    seen = " and ".join(str(size) for size in dict.fromkeys(found.windows))
    head = f"{f['n_bytes']:,} bytes in {f['n_blocks']:,} blocks, windows of {seen} tokens"
    return f"{_folded(head)}\n\n{_table(('', 'value', INTERVAL), rows)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal, in which an interval stands in the cell of its figure."""
    merged = [i for i, name in enumerate(header) if name == INTERVAL]
    names = [
        f"{name} [{INTERVAL}]" if i + 1 in merged else name
        for i, name in enumerate(header)
        if i not in merged
    ]
    cells = [
        [
            f"{cell} {row[i + 1]}".rstrip() if i + 1 in merged else cell
            for i, cell in enumerate(row)
            if i not in merged
        ]
        for row in rows
    ]
    return number_table(names, cells)


def _folded(text: str) -> str:
    return plain(paragraph(text))


def _rows(f: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = [
        (name, format(f[key], digits), _ends(f, key, digits))
        for name, key, digits in (
            ("perplexity, dense", "perplexity_dense", ".4g"), ("perplexity", "perplexity", ".4g"),
            ("perplexity ratio", "perplexity_ratio", ".4f"), ("KL(dense || this), mean", "kl_mean", ".4g"),
        )
    ]  # fmt: skip
    spread = ("median", "90", "99", "99_9", "max")
    rows += [(f"KL, {_share(name)}", f"{f['kl_' + name]:.4g}", "") for name in spread]
    rows += [
        (name, f"{f[key]:.4f}", _ends(f, key, ".4f"))
        for name, key in (
            ("same likeliest token", "top1_agreement"), ("overlap of the likeliest five", "top5_agreement"),
            ("accepted as a draft", "acceptance"), ("change of the token's probability, mean", "delta_p_mean"),
        )
    ]  # fmt: skip
    rows.append(("change of the token's probability, RMS", f"{f['delta_p_rms']:.4f}", ""))
    if f["bits_per_byte"] is not None:
        rows += [
            ("bits per byte, dense", f"{f['bits_per_byte_dense']:.4f}", ""),
            ("bits per byte", f"{f['bits_per_byte']:.4f}", ""),
        ]
    return rows


def grid_row(f: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a state under `GRID_HEADER`: its figures, with its name as `model`."""
    bits = "" if f["bits_per_byte"] is None else f"{f['bits_per_byte']:.4f}"
    return (
        one_line(str(f["model"])), number(f["perplexity"], ".4g"), number(f["perplexity_ratio"], ".4f"),
        _ends(f, "perplexity_ratio", ".4f"), number(f["kl_mean"], ".4g"), _ends(f, "kl_mean", ".3g"), number(f["kl_99"], ".3g"),
        number(f["kl_max"], ".3g"), f"{f['top1_agreement']:.4f}", f"{f['top5_agreement']:.4f}", f"{f['acceptance']:.4f}", bits,
    )  # fmt: skip


def number(value: float | None, digits: str) -> str:
    """A figure in so many digits; what JSON has no number for is infinite."""
    return "inf" if value is None else f"{value:{digits}}"


def part_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a part of the text under `PART_HEADER`."""
    dense, here = (_perplexity(row[name]) for name in ("loss_dense", "loss"))
    return (
        one_line(str(row["part"])), f"{row['n_tokens']:,}", dense, here, number(row["perplexity_ratio"], ".4f"),
        _ends(row, "perplexity_ratio", ".4f"), number(row["kl_mean"], ".4g"), _ends(row, "kl_mean", ".3g"), f"{row['top1_agreement']:.4f}",
    )  # fmt: skip


def _perplexity(loss: float | None) -> str:
    return f"{math.exp(loss):.4g}" if loss is not None and loss < 709 else "inf"


def _share(name: str) -> str:
    return {"max": "maximum", "99_9": "99.9 %"}.get(name, name if name == "median" else f"{name} %")


def _ends(f: Mapping[str, Any], key: str, digits: str) -> str:
    low, high = f[f"{key}_low"], f[f"{key}_high"]
    return "unknown" if low is None or high is None else f"[{low:{digits}}, {high:{digits}}]"
