"""Python runs this first in child processes of the tests (PYTHONPATH): puts the fake pipeline in place of the real."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any


def _restyle_video(run: Any, do: Any) -> Any:
    path = Path(__file__).parent.parent / "fake_pipeline.py"
    spec = importlib.util.spec_from_file_location("fake_pipeline", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.restyle_video(run, do)


_stand_in = types.ModuleType("tasks.pipeline")
_stand_in.restyle_video = _restyle_video  # type: ignore[attr-defined]
sys.modules["tasks.pipeline"] = _stand_in


def _deflicker_video(job: Any, run: Any, do: Any) -> Any:
    return _restyle_video(run, do)


_filter_stand_in = types.ModuleType("tasks.filter_pipeline")
_filter_stand_in.deflicker_video = _deflicker_video  # type: ignore[attr-defined]
sys.modules["tasks.filter_pipeline"] = _filter_stand_in
