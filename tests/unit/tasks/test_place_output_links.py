"""A link planted in the output folder leads no result out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from configs.errors import StoreError
from configs.job import RestyleJob
from tasks.publish import place_output
from tasks.run import Run
from tasks.store import Store
from tasks.store.keys import StageKey


def test_a_link_out_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), workers=0)
    key = StageKey("encode", "ab" * 16, {})
    manifest = store.publish(key, [store.write_part(key, "video", b"pixels")], {"suffix": "mp4"})
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    out.mkdir()
    (out / "planted").symlink_to(outside)

    def placed(relative: str) -> str:
        job = RestyleJob(style="oil", out=str(out))
        run = Run(job, "clip.mp4", store, cast(Any, None), relative)
        return place_output(run, store.ref(manifest, "computed"))

    with pytest.raises(StoreError, match="leads out of"):
        placed("planted")
    assert list(outside.iterdir()) == []
    assert Path(placed("honest")).read_bytes() == b"pixels"
