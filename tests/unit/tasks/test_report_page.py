"""The report page: self-contained, escaped, complete."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from configs.job import RestyleJob
from configs.overrides import build_job
from tasks.pair_facts import PairFacts
from tasks.report import OutputFacts, ReportData, ShotFacts, SourceFacts, render_report
from tasks.report_chart import chart
from tasks.run import StageRecord, WindowSteps

PLANTED = '<script>alert("x")</script>'


def data(**changes: Any) -> ReportData:
    values: dict[str, Any] = {
        "source": SourceFacts(uri="https://example.org/a.mp4", width=64, height=36, frames=4, fps=25, seconds=0.16),
        "output": OutputFacts(uri="/out/a.mp4", key="12345678" * 4, width=64, height=36, frames=4),
        "job": build_job("pocket", None, ["deflicker.window=6"], {"prompt": "a car", "style": "oil"}),
        "prompt": "a car, oil painting",
        "model": "pocket",
        "created": "2026-11-21",
        "figures": {
            "source": {"pixel_mse": 10.0, "pixel_mse_ci": [9.0, 11.0], "seam_ratio": 1.0},
            "result": {
                "pixel_mse": 20.0,
                "pixel_mse_ci": [18.0, 22.0],
                "seam_ratio": 1.2,
                "excess_flicker": 0.25,
                "fidelity_psnr": 24.5,
                "sharpness_ratio": 0.95,
            },
            "control": {"pixel_mse": 50.0, "fidelity_psnr": 24.9, "excess_flicker": 1.0, "seam_ratio": None},
        },
        "curves": {"source": [9.0, None, 11.0], "result": [18.0, None, 22.0], "control": [48.0, None, 52.0]},
        "window_starts": [0, 2],
        "stages": [
            StageRecord(source="a", stage="denoise (shot 1)", key="ab" * 16, status="reused", seconds=2.5, bytes=1500)
        ],
        "window_steps": WindowSteps(total=10, computed=4, reused=6),
        "deflicker_steps": [4, 9],
        "shots": [ShotFacts(first=0, stop=2, thumbnail=b"\xff\xd8jpeg"), ShotFacts(first=2, stop=4)],
        "previews": {"source": b"mp4-of-source", "result": b"mp4-of-result"},
    }
    return ReportData.model_validate({**values, **changes})


class Resources(HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "poster", "srcset", "action", "data")]


def parsed(page: str) -> Resources:
    resources = Resources()
    resources.feed(page)
    return resources


def test_the_page_loads_nothing_from_outside() -> None:
    page = render_report(data())
    loads = parsed(page).loads
    assert len(loads) == 3
    assert all(uri.startswith("data:") for uri in loads)
    assert not parsed(page).tags.count("link")
    assert not re.search(r"url\(|@import|https?://(?!example\.org)", page)
    assert "default-src 'none'" in page


def test_planted_markup_stays_text_everywhere() -> None:
    plain = parsed(render_report(data())).tags.count("script")
    job = build_job(
        "pocket", None, ["negative_prompt=</script><script>x"], {"prompt": PLANTED, "sources": (f"{PLANTED}.mp4",)}
    )
    source = SourceFacts(uri=f"clips/{PLANTED}.mp4", width=64, height=36, frames=4, fps=25, seconds=1)
    stage = StageRecord(source=PLANTED, stage=PLANTED, key="ab" * 16, status="computed", seconds=1, bytes=1)
    page = render_report(
        data(
            job=job,
            source=source,
            prompt=PLANTED,
            model=PLANTED,
            stages=[stage],
            notes=[PLANTED],
            numerics={PLANTED: PLANTED},
            curves={PLANTED: [1.0, 2.0], "</script>": [1.0]},
            figures={PLANTED: {}, "source": {}},
            previews={PLANTED: b"x"},
            output=OutputFacts(uri=f"/out/{PLANTED}", key=PLANTED, width=1, height=1, frames=1),
        )
    )
    assert PLANTED not in page
    assert parsed(page).tags.count("script") == plain == 2
    assert "&lt;script&gt;alert(" in page


def test_previews_and_curves_are_inside() -> None:
    page = render_report(data())
    assert f"data:video/mp4;base64,{base64.b64encode(b'mp4-of-result').decode()}" in page
    inner = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert inner is not None
    assert json.loads(inner[1])["curves"]["Result"] == [18.0, None, 22.0]


def test_figures_are_held_against_their_bars() -> None:
    page = render_report(data())
    cards = re.findall(r'<h3>(.*?)<span class="mark (\w+)">', page)
    assert cards == [("Excess flicker", "yes"), ("Fidelity", "no"), ("Sharpness", "yes"), ("Seam ratio", "no")]
    assert "95 % CI 18.00 – 22.00" in page


def test_the_judge_is_heard_where_it_judged() -> None:
    judged = {"style_accuracy": 0.875, "structure": 0.61, "structure_ratio": 0.93, "colour_error": 7.25}
    page = render_report(data(figures={"source": {"pixel_mse": 1.0}, "result": {"pixel_mse": 2.0, **judged}}))
    assert "Style seen" in page
    assert re.search(r">0\.88<.*>0\.61<small>0\.93 of the filter's</small><.*>7\.2<", page)
    assert "Style seen" not in render_report(data())


def test_without_a_control_arm_it_is_said_and_nothing_is_judged_by_it() -> None:
    figures = {"source": {"pixel_mse": 1.0}, "result": {"pixel_mse": 2.0, "seam_ratio": 1.0}}
    page = render_report(data(figures=figures))
    assert "report.arms=control,post" in page
    assert page.count("not measured") == 3


def test_every_parameter_is_there_and_changed_ones_are_marked() -> None:
    page = render_report(data())
    shown = re.findall(r"<div( class=\"changed\")?><dt>(.*?)</dt><dd>(.*?)</dd>", page)
    job = data().job.model_dump()
    names = [*(k for k, v in job.items() if not isinstance(v, dict))]
    names += [k for v in job.values() if isinstance(v, dict) for k in v]
    assert sorted(name for _, name, _ in shown) == sorted(names)
    changed = {name for mark, name, _ in shown if mark}
    assert {"prompt", "style", "window"} <= changed
    assert "guidance_scale" not in changed


def test_reused_stages_keys_steps_and_the_notice_are_told() -> None:
    page = render_report(data())
    assert '<span class="badge reused">reused</span>' in page
    assert f'title="{"ab" * 16}"' in page
    assert "10 window steps: 4 computed, 6 reused" in page
    assert "Deflicker ran in steps 4, 9" in page
    assert "AI-generated" in page
    assert "12345678" * 4 in page


def test_correspondence_has_a_line_of_its_own() -> None:
    facts = PairFacts(method="flow", pairs=96, computed=40, seconds=1.5, bytes=2_500_000)
    page = render_report(data(correspondence=facts))
    assert (
        "Correspondence (flow): 96 pairs of frames, 40 computed and 56 reused, in 1.50 s; 2.5 MB in the store" in page
    )
    assert "pairs of frames," not in render_report(data())


def test_what_evaluate_measured_beside_the_four_is_shown() -> None:
    result = {"pixel_mse": 2.0, "no_warp": 31.27, "sharpness_to_source": 0.4567, "sharpness_pulsing": 0.0321}
    page = render_report(data(figures={"source": {"pixel_mse": 1.0, "no_warp": 30.0}, "result": result}))
    assert re.search(r">2\.00</td>\n<td class=\"n\">31\.3</td>", page)
    assert '<td class="n">0.457</td><td class="n">0.032</td>' in page


def test_reasons_to_look_stand_at_the_top_and_in_the_gate() -> None:
    good, bad = (
        render_report(data()),
        render_report(data(job=build_job("pocket", None, ["gate.max_seam_ratio=1.1"], {"style": "oil"}))),
    )
    assert "Worth a look" not in good
    assert "limits had a figure, all kept" in good
    said = "Seam ratio 1.200 is above 1.1 (gate.max_seam_ratio)"
    assert bad.index("Worth a look.") < bad.index(said) < bad.index("How good it is")
    assert len(re.findall(r"✗ look", bad)) == 1
    off = render_report(data(job=build_job("pocket", None, ["gate.enabled=false"], {"style": "oil"})))
    assert "<span>off</span>" in off


def test_what_is_missing_is_said() -> None:
    """An empty place without a word looks like a fault of the page."""
    bare = render_report(
        data(figures={}, curves={}, stages=[], shots=[], previews={}, window_starts=[], deflicker_steps=[])
    )
    for words in ("Nothing was measured", "No preview in this page", "No stage is recorded"):
        assert words in bare
        assert words not in render_report(data())
    unknown = {"source": {"pixel_mse": 1.0}, "result": {"pixel_mse": 2.0}}
    assert "need a style that is a known filter" in render_report(data(figures=unknown))
    assert "need a style that is a known filter" not in render_report(data()), "it has a fidelity"
    assert "No two frames of a shot could be compared" in render_report(data(curves={"result": [None, None]}))


def test_groups_of_keys_not_known_beforehand_are_shown() -> None:
    """Such as what is different in single shots."""
    job = RestyleJob.model_validate({"style": "oil", "shots": {"2": {"style": "night"}}})
    page = render_report(data(job=job))
    assert re.search(r'class="changed"><dt>2</dt><dd>[^<]*style=night', page)


def test_a_bare_result_makes_a_page() -> None:
    page = render_report(
        data(figures={}, curves={}, stages=[], shots=[], previews={}, window_starts=[], deflicker_steps=[])
    )
    assert "<video" not in page
    assert "The deflicker did not run" not in page
    assert "AI-generated" in page


def test_a_curve_has_gaps_where_pairs_are_missing() -> None:
    laid = chart({"a": [1.0, 2.0, None, 4.0], "b": [None, float("nan"), 3.0, 3.0]}, [2], [3])
    first, second = laid.lines
    assert [path.count("L") + 1 for path in first.paths] == [2, 2]
    assert first.paths[1].split("L")[0] == "M" + first.paths[1].split("L")[1], "a point alone is drawn on itself"
    assert (len(second.paths), second.mean) == (1, 3.0)
    assert len(laid.borders) == len(laid.cuts) == 1
    assert laid.y_ticks[0][0] == pytest.approx(laid.bottom)
    assert laid.y_ticks[-1][0] == pytest.approx(laid.top)


@pytest.mark.parametrize("curve", [[0.0, 0.0], [5.0], [1e-6, 2e-6], [1e6, 3.0]])
def test_any_curve_fits_its_frame(curve: list[float]) -> None:
    laid = chart({"a": curve}, [], [])
    points = [p.split(",") for path in laid.lines[0].paths for p in path[1:].split("L")]
    assert all(laid.left - 0.1 <= float(x) <= laid.right + 0.1 for x, _ in points)
    assert all(laid.top - 0.1 <= float(y) <= laid.bottom + 0.1 for _, y in points)
