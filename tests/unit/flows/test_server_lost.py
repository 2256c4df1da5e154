"""What ends a video and what does not: a server that goes away, an artifact that is removed under its reader."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows.video import _Kept, again_if_removed, finished_anyway
from tasks.store.blobs import TornArtifact

RUN = cast(Any, SimpleNamespace(source="clip.mp4"))


@pytest.mark.parametrize("kept", [_Kept(value="a result"), _Kept(error=ValueError("an end of its own"))], ids=str)
def test_a_video_that_ended_keeps_its_end(kept: _Kept, caplog: pytest.LogCaptureFixture) -> None:
    with finished_anyway(RUN, kept):
        raise ConnectionError("the server is gone")
    assert "clip.mp4: its end could not be shown" in caplog.text


def test_a_video_that_did_not_end_has_no_end_to_keep() -> None:
    with pytest.raises(ConnectionError), finished_anyway(RUN, _Kept()):
        raise ConnectionError("the server is gone")


@pytest.mark.parametrize(("torn", "tries"), [(1, 2), (2, 2)])
def test_what_was_removed_under_its_reader_is_looked_for_once_more(torn: int, tries: int) -> None:
    told: list[str] = []
    run = cast(Any, SimpleNamespace(source="clip.mp4", observe=lambda sign: told.append(sign.message)))
    called: list[Any] = []

    def whole(run: Any, do: Any) -> Any:
        called.append(do)
        if len(called) <= torn:
            raise TornArtifact("decode 12ab is no longer there")
        return "a result"

    if torn < tries:
        assert again_if_removed(whole)(run, do="as ever") == "a result"
    else:
        with pytest.raises(TornArtifact):
            again_if_removed(whole)(run, do="as ever")
    assert called == ["as ever"] * tries
    assert told == ["decode 12ab is no longer there; looking again"]
