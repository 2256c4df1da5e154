"""Flicker curves as a file of their own: SVG, or an HTML page that holds it. Needs no plotting library.

Lays out with `tasks.report_chart`; knows curves, cuts and window borders, and no video.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from configs.errors import ConfigError
from tasks.publish import write_whole
from tasks.report_chart import HEIGHT, Chart, chart

SUFFIXES = (".svg", ".html")

_COLOURS = ("#7d8590", "#2563c9", "#d9622b")  # source, video, control: the report's own
_TEXT = {"font-family": "system-ui, sans-serif", "font-size": "12", "fill": "#61666f"}
_TOP = 46.0  # title and legend


def check_place(place: str) -> Path:
    """Where a plot goes. Errors: ConfigError for a suffix that is not drawn."""
    path = Path(place)
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--plot draws {' or '.join(SUFFIXES)}, got {place!r}")
    return path


def draw(
    place: str,
    curves: Mapping[str, Sequence[float | None]],
    cuts: Sequence[int] = (),
    window_starts: Sequence[int] = (),
    title: str = "",
) -> Path:
    """Write the Pixel-MSE of each pair of frames (None for a gap), a line per name in order, and return the path.

    `cuts` and `window_starts` are frame numbers: dashed and dotted verticals. Errors: ConfigError for another suffix,
    StoreError when the file cannot be written.
    """
    path = check_place(place)
    picture = Xml.tostring(_svg(chart(curves, window_starts, cuts), title), encoding="unicode")
    if path.suffix.lower() == ".html":
        picture = (
            f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f'<body style="margin:24px;background:#fbfaf8">{picture}</body></html>'
        )
    write_whole(path, (picture + "\n").encode())
    return path


def _svg(laid: Chart, title: str) -> Xml.Element:
    size = {"viewBox": f"0 {-_TOP:g} {laid.width:g} {HEIGHT + _TOP:g}", "width": "100%"}
    root = Xml.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "role": "img"})
    Xml.SubElement(root, "title").text = title
    Xml.SubElement(root, "rect", {"y": f"{-_TOP:g}", "width": "100%", "height": "100%", "fill": "#ffffff"})
    _say(root, laid.left, -28, title, {"font-size": "14", "fill": "#1b1d21"})
    for y, label in laid.y_ticks:
        _rule(root, laid.left, y, laid.right, y, "#e3e1dc")
        _say(root, laid.left - 8, y + 4, label, {"text-anchor": "end"})
    for x, label in laid.x_ticks:
        _say(root, x, laid.bottom + 20, label, {"text-anchor": "middle"})
    for marks, dashes, kind in ((laid.borders, "1.5 4", "border"), (laid.cuts, "6 3", "cut")):
        for x in marks:
            _rule(root, x, laid.top, x, laid.bottom, "#61666f", {"stroke-dasharray": dashes, "class": kind})
    at = laid.left
    for line, colour in zip(laid.lines, _COLOURS, strict=False):
        for path in line.paths:
            pen = {"fill": "none", "stroke": colour, "stroke-width": "2", "stroke-linecap": "round"}
            Xml.SubElement(root, "path", {"class": "curve", "d": path, **pen})
        words = f"{line.name}, mean {line.mean:.4g}"
        Xml.SubElement(root, "circle", {"cx": f"{at + 4:g}", "cy": "-12", "r": "4", "fill": colour})
        _say(root, at + 14, -8, words)
        at += 34 + 6.6 * len(words)
    _say(root, laid.right, HEIGHT - 5, "pair of frames", {"text-anchor": "end"})
    return root


def _say(root: Xml.Element, x: float, y: float, words: str, look: Mapping[str, str] | None = None) -> None:
    Xml.SubElement(root, "text", {"x": f"{x:g}", "y": f"{y:g}", **_TEXT, **(look or {})}).text = words


def _rule(
    root: Xml.Element, x1: float, y1: float, x2: float, y2: float, colour: str, look: Mapping[str, str] | None = None
) -> None:
    ends = {"x1": f"{x1:g}", "y1": f"{y1:g}", "x2": f"{x2:g}", "y2": f"{y2:g}"}
    Xml.SubElement(root, "line", {**ends, "stroke": colour, **(look or {})})
