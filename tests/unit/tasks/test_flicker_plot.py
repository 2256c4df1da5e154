"""The plot as a file: cuts marked, gaps kept, names harmless."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from configs.errors import ConfigError
from tasks.flicker_plot import draw

CURVES: dict[str, list[float | None]] = {"B": [2.0, 3.0, None, 2.0, 2.5], "A <b>&": [9.0, 8.0, None, 7.0, None]}


def test_cuts_gaps_and_names(tmp_path: Path) -> None:
    picture = Xml.fromstring(draw(str(tmp_path / "a.svg"), CURVES, cuts=[3], window_starts=[0, 2, 3]).read_text())
    kinds = [element.get("class") for element in picture.iter()]
    assert kinds.count("curve") == 4, "two runs each: the pair across the cut is a gap"
    assert (kinds.count("cut"), kinds.count("border")) == (1, 1)
    said = "".join(picture.itertext())
    assert "A <b>&, mean 8" in said
    assert "B, mean 2.375" in said


def test_html_holds_the_same_picture(tmp_path: Path) -> None:
    svg, page = (draw(str(tmp_path / name), CURVES, title="a <c>").read_text() for name in ("a.svg", "a.html"))
    assert svg.strip() in page
    assert "<title>a &lt;c&gt;</title>" in page


def test_another_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.svg or \.html, got '.*a\.pdf'"):
        draw(str(tmp_path / "a.pdf"), CURVES)
    assert not list(tmp_path.iterdir())
