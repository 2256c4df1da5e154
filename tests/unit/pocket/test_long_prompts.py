"""A style is drawn whatever the prompt is: rare words fall apart into many tokens, and eight of them are too many."""

from __future__ import annotations

from pathlib import Path

from configs.overrides import build_job
from flows.demo import demo_clip
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Progress, Run
from tasks.store import Store

PROMPT = "a magnificent Mediterranean fishing village with whitewashed architecture"


def test_a_long_prompt_leaves_the_style_and_is_told_of(tmp_path: Path) -> None:
    """One frame of the demo; before, the words of the style were cut off and nothing was said."""
    sets = ("input.frames=0,1", "window.size=1", "attention.pattern=0", "deflicker.enabled=false")
    job = build_job("neon", None, sets, {"prompt": PROMPT, "out": str(tmp_path / "out")})
    store, seen = Store.open(str(tmp_path / "store"), workers=0), list[Progress]()
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        result = restyle_video(Run(job, str(demo_clip(tmp_path)), store, engines, observe=seen.append))
    assert result.output.metrics["style_accuracy"] == 1.0
    (note,) = (sign.message for sign in seen if sign.level == "warning")
    assert note.startswith("the prompt is cut after 'a magnificent mediterranean fishing village")
