"""The level under which a run stands in tables: what was asked for, as long as the weights bear it out."""

from __future__ import annotations

import math

TOLERANCE = 0.01  # rounding to whole weights per row or layer moves the measured share by less than this
SMALL_RATIO = (
    2.0  # ... which says nothing of a level that is itself that small: there, twice or half is another level
)


def bears_out(asked: float, measured: float) -> bool:
    """True where a measured share of zeros is that of a level which was asked for, as far as rounding to whole weights goes.

    Nothing asked for is borne out by the few zeros that trained weights happen to hold; a level above 0 only by a share of the
    same size, so that 0.001 is neither 0 nor 0.005.

    >>> bears_out(0.5, 0.493), bears_out(0.0, 0.004), bears_out(0.001, 0.004), bears_out(0.001, 0.0)
    (True, True, False, False)
    """
    if abs(asked - measured) > TOLERANCE + 1e-9:
        return False
    least, most = sorted((asked, measured))
    return asked == 0 or most <= SMALL_RATIO * least


def level_of(requested: float | None, measured: float | None) -> tuple[float | None, str | None]:
    """The level and, where it is not the one that was asked for, a warning that says so.

    Both are fractions in [0, 1] of the targeted weights that are zero; `measured` None (or NaN) means that zeros
    cannot be counted, `requested` None that nothing was asked for.

    >>> level_of(0.5, 0.4998)
    (0.5, None)
    >>> level_of(0.3, 0.7)
    (0.7, 'asked for 0.3, measured 0.7: the checkpoint was sparse already')
    """
    asked, seen = _known(requested), _known(measured)
    if asked is None or seen is None:
        return (asked if seen is None else seen), None
    if bears_out(asked, seen):
        return asked, None
    why = (
        "the checkpoint was sparse already" if seen > asked else "fewer weights are zero than were asked for"
    )
    return seen, f"asked for {asked:.4g}, measured {seen:.4g}: {why}"


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
