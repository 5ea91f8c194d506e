"""What each weight quantizer stores: widths, groups, scales. Facts alone, so that a plan is checked without torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.compress.notation import BITS, KV, NONE
from junkdna_harness.compress.plugins import import_own

ENTRY_POINTS = "junkdna_harness.quantizers"
WHOLE_ROW = -1  # the group size of one scale per row
SCALE_BITS = 16


@dataclass(frozen=True)
class Format:
    """One quantizer's name and what it stores beside its codes.

    `widths`: bits of a code, the default first. `groups`: group sizes tried where none is given; where none of them divides every
    width, a whole row shares a scale, unless the size belongs to the format's definition (`strict`). `integer`: codes are whole
    numbers, with a zero point unless symmetric. `scale_bits` a group, `matrix_bits` a matrix and `column_bits` an input feature are
    stored too. `calibrated`: reads calibration text. `ordered`: columns may be rounded in another order (act_order).
    """

    name: str
    widths: tuple[int, ...]
    groups: tuple[int, ...] = (128, 64, 32, 16)
    strict: bool = False
    integer: bool = False
    scale_bits: float = SCALE_BITS
    matrix_bits: float = 0.0
    column_bits: float = 0.0
    calibrated: bool = False
    ordered: bool = False

    def check_bits(self, bits: int) -> None:
        """Refuse a width that the format does not have.

        Raises:
            UsageError: names those that it has.
        """
        if bits in self.widths:
            return
        if len(self.widths) == 1:
            raise UsageError(
                f"{self.name} has {self.widths[0]} bits, so bits={bits} has no meaning. Leave it out."
            )
        raise UsageError(
            f"bits={bits} is not supported. Choose one of {', '.join(map(str, sorted(self.widths, reverse=True)))}."
        )

    def shared_bits(
        self, shapes: Iterable[tuple[int, int]], bits: float, group: int, symmetric: bool = False
    ) -> float:
        """Bits per weight of what codes share (scales, zero points), on average over matrices of these (out, in) shapes."""
        a_group = self.scale_bits + (bits if self.integer and not symmetric else 0)
        stored = weights = 0.0
        for out, width in shapes:
            groups = out * (1 if group == WHOLE_ROW else width / group)
            stored += groups * a_group + self.matrix_bits + self.column_bits * width
            weights += out * width
        return stored / max(weights, 1)


_INTEGERS = (4, *(bits for bits in BITS if bits != 4))
FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        # Frantar et al. 2022 (arXiv 2210.17323) count a scale in fp16 and a zero point as wide as a code.
        Format("rtn", _INTEGERS, integer=True),
        Format("gptq", _INTEGERS, integer=True, calibrated=True, ordered=True),
        # Where a model's own layers cannot take in the scales of input features, they are stored: counted so, in fp16.
        Format("awq", _INTEGERS, integer=True, calibrated=True, column_bits=16),
        # As compressed-tensors stores FP8: a scale per row, in the model's 16 bits.
        Format("fp8", (8,), groups=()),
        Format("fp8-e5m2", (8,), groups=()),
        # OCP Microscaling Formats 1.0, section 5.4: blocks of 32 and an E8M0 scale.
        Format("mxfp4", (4,), groups=(32,), strict=True, scale_bits=8),
        # NVIDIA: blocks of 16 with an E4M3 scale, and one fp32 a tensor.
        Format("nvfp4", (4,), groups=(16,), strict=True, scale_bits=8, matrix_bits=32),
        # Dettmers et al. 2023 (arXiv 2305.14314): blocks of 64 with an fp32 absmax; bitsandbytes without double quantization.
        Format("nf4", (4,), groups=(64, 32, 16), scale_bits=32),
    )
}  # fmt: skip
BUILT_IN = tuple(FORMATS)


def known_format(name: str | None) -> Format:
    """What `name` stores; of a quantizer that is not known here, what whole numbers take."""
    return FORMATS.get(str(name).rpartition(":")[2], FORMATS["rtn"])


def get_format(name: str, also: Iterable[str] = (), argument: str = "method") -> Format:
    """The format `name`; 'package.module:name' imports that module first. `also` are other names that are allowed.

    Raises:
        UsageError: no such quantizer; the nearest name is suggested.
    """
    own = import_own(name, argument, BUILT_IN)
    if own not in FORMATS:
        for point in entry_points(group=ENTRY_POINTS):
            point.load()
    if own not in FORMATS:
        allowed = [*FORMATS, *also]
        raise UsageError(
            f"{argument}={name!r} is unknown. Choose one of {', '.join(allowed)}.{did_you_mean(own, allowed)}"
        )
    return FORMATS[own]


def add_format(form: Format) -> None:
    """Make a quantizer of one's own known.

    Raises:
        UsageError: the name is taken.
    """
    if form.name in (NONE, KV) or FORMATS.setdefault(form.name, form) != form:
        raise UsageError(f"a quantizer named {form.name!r} exists already. Choose another name.")
