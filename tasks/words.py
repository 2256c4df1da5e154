"""Amounts in words for people: bytes and seconds, the same on pages, in tables and on a terminal."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes for people: '512 B', '3.4 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        shown = f"{count:.0f}" if unit == "B" else f"{count:.1f}"
        if float(shown) < 1000:
            return f"{shown} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: '0.41 s', '12.3 s', '3 min 5 s', '2 h 4 min'; never '60.0 s' or '3 min 60 s'."""
    for below, digits in ((10, 2), (60, 1)):
        shown = f"{seconds:.{digits}f}"
        if float(shown) < below:
            return f"{shown} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
