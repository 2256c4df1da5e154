"""What ends a video and what does not: a server that goes away, an artifact that is removed under its reader."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from configs.errors import Interrupted
from configs.job import RestyleJob
from configs.library_layers import build_library
from flows import away
from flows.away import Kept, begun, finished_anyway
from flows.library import shown
from flows.library.ends import LibraryResult
from flows.video import Belongs, again_if_removed, restyle_one
from tasks.run import Run
from tasks.store.blobs import TornArtifact
from tests.flow_stand_in import result_of

RUN = cast(Any, SimpleNamespace(source="clip.mp4"))


@pytest.mark.parametrize("kept", [Kept(value="a result"), Kept(error=ValueError("an end of its own"))], ids=str)
def test_a_video_that_ended_keeps_its_end(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    with finished_anyway(RUN, kept):
        raise ConnectionError("the server is gone")
    assert "clip.mp4: its end could not be shown" in caplog.text


def test_a_video_that_did_not_end_has_no_end_to_keep() -> None:
    with pytest.raises(ConnectionError), finished_anyway(RUN, Kept()):
        raise ConnectionError("the server is gone")


def server(answers: int | None) -> tuple[Callable[[], None], list[int]]:
    """A flow run that begins when it is asked for the `answers`-th time (None: never), and a list of the tries."""
    tries: list[int] = []

    def shown() -> None:
        tries.append(len(tries) + 1)
        if tries[-1] != answers:
            raise RuntimeError("Failed to reach API") from httpx.ConnectError("refused")

    return shown, tries


@pytest.mark.parametrize(("answers", "began", "tried"), [(1, True, 1), (3, True, 3), (None, False, 3)])
def test_a_server_that_is_away_is_asked_again_and_then_done_without(
    answers: int | None, began: bool, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(away, "DELAYS", (0.0, 0.0))
    shown, tries = server(answers)
    assert begun(shown, RUN, Kept()) is began
    assert len(tries) == tried


def test_only_a_server_that_is_away_is_waited_for() -> None:
    def refused() -> None:
        raise ValueError("no such flow")

    with pytest.raises(ValueError, match="no such flow"):
        begun(refused, RUN, Kept())
    lost, tries = server(None)
    with pytest.raises(RuntimeError):
        begun(lost, RUN, Kept(value="a result"))
    assert tries == [1]


def test_who_is_asked_to_stop_waits_no_longer() -> None:
    shown, tries = server(None)
    with pytest.raises(Interrupted, match="the same command resumes"):
        begun(shown, cast(Any, SimpleNamespace(source="clip.mp4", should_stop=lambda: True)), Kept())
    assert tries == [1]


def test_a_librarys_video_is_made_without_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty videos died in half a minute of a closed port."""
    monkeypatch.setattr(away, "DELAYS", ())
    monkeypatch.setattr("flows.video.pipeline.restyle_video", result_of)
    run = Run(RestyleJob(style="oil"), "clip.mp4", cast(Any, None), cast(Any, None), "")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert restyle_one(run, belongs=Belongs("job", 1, 1)) == result_of(run)


@pytest.mark.parametrize("ended", [True, False])
def test_a_library_that_ended_keeps_its_result(ended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def flow(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def lost(body: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any, return_state: bool) -> None:
                if ended:
                    body(*args)
                raise httpx.ConnectError("the server is gone")

            return called

        return lost

    monkeypatch.setattr(shown, "flow", flow)
    monkeypatch.setattr(shown, "Watch", lambda source, observe: nullcontext())
    job = build_library(None, ["in"], flags={"prompt": "x", "preset": "dry"})
    result = LibraryResult(job="j", method="library", status="completed")
    with nullcontext() if ended else pytest.raises(httpx.ConnectError):
        assert shown.as_flow_run(job, lambda watch: result) is result


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
