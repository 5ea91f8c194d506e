"""Spans of time and sizes of memory, as people say them."""

from __future__ import annotations


def time_span(seconds: float) -> str:
    """A duration in the largest unit that leaves two digits; nothing takes less than a second.

    >>> time_span(0.2), time_span(89), time_span(600), time_span(7200)
    ('1 s', '89 s', '10 min', '2.0 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def byte_size(size: float) -> str:
    """Bytes in decimal units, as disks are sold: one decimal from a megabyte on.

    >>> byte_size(12), byte_size(31_000), byte_size(2_640_000), byte_size(1.4e13)
    ('12 B', '31 kB', '2.6 MB', '14.0 TB')
    """
    for unit, digits in (("B", 0), ("kB", 0), ("MB", 1), ("GB", 1)):
        if round(size, digits) < 1000:
            return f"{size:.{digits}f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
